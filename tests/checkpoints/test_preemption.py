"""Trials that were cut off go on where they were."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState

from epbt_optuna import CheckpointStore, EPBTSampler, reopen, resume
from epbt_optuna._internal.optuna import read_system_attrs, write_system_attr

experimental = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path)


@pytest.fixture
def study(checkpoints: CheckpointStore) -> optuna.Study:
    """A study whose generation 0 is done; in maximising, trial 3 is the fittest."""
    study = optuna.create_study(direction="maximize", sampler=EPBTSampler(4, seed=0))
    for _ in range(4):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        checkpoints.save(trial, {"from": trial.number, "epoch": 8})
        study.tell(trial, trial.number)
    return study


def cut_off(study: optuna.Study) -> optuna.Trial:
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    return trial


def lineage(study: optuna.Study, number: int) -> tuple[int, int]:
    record = study.trials[number].system_attrs["epbt:lineage"]
    return record["parent"], record["mate"]


@experimental
@pytest.mark.parametrize("how", ["resume", "heartbeat"])
def test_a_retry_goes_on_from_the_last_partial_checkpoint(
    study: optuna.Study, checkpoints: CheckpointStore, how: str
) -> None:
    trial = cut_off(study)
    for epoch in (9, 10):
        checkpoints.save(trial, {"from": trial.number, "epoch": epoch}, final=False)
    if how == "resume":
        resume(study, study.trials[trial.number])
    else:
        study.tell(trial, state=TrialState.FAIL)
        RetryHeartbeatStaleTrialCallback()(study, study.trials[trial.number])
    retry = study.ask()
    assert checkpoints.inherit(retry) == {"from": trial.number, "epoch": 10}
    assert retry.suggest_float("x", 0, 1) == trial.params["x"]
    assert lineage(study, retry.number) == lineage(study, trial.number)


def test_a_retry_goes_on_from_what_was_saved_since_the_trial_was_read(
    study: optuna.Study, checkpoints: CheckpointStore
) -> None:
    trial = cut_off(study)
    checkpoints.save(trial, {"epoch": 9}, final=False)
    read = study.trials[trial.number]
    checkpoints.save(trial, {"epoch": 10}, final=False)
    resume(study, read)
    assert checkpoints.inherit(study.ask()) == {"epoch": 10}


def test_a_retry_of_a_trial_that_saved_nothing_starts_from_the_parent(
    study: optuna.Study, checkpoints: CheckpointStore
) -> None:
    trial = cut_off(study)
    resume(study, study.trials[trial.number])
    state = checkpoints.inherit(study.ask())
    assert state == {"from": lineage(study, trial.number)[0], "epoch": 8}


def test_a_retry_whose_partial_checkpoint_is_gone_starts_from_the_parent_and_says_so(
    study: optuna.Study,
    checkpoints: CheckpointStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    trial = cut_off(study)
    checkpoints.save(trial, {"epoch": 9}, final=False)
    (partial,) = tmp_path.glob(f"*-{trial.number:06d}-*")
    partial.unlink()
    resume(study, study.trials[trial.number])
    retry = study.ask()
    with caplog.at_level(logging.WARNING):
        state = checkpoints.inherit(retry)
    assert state == {"from": lineage(study, trial.number)[0], "epoch": 8}
    assert f"is missing, or was collected. Trial {retry.number} starts from its" in caplog.text


def test_a_retry_that_is_cut_off_too_can_be_retried_again(
    study: optuna.Study, checkpoints: CheckpointStore
) -> None:
    trial = cut_off(study)
    for epoch in (9, 10, 11):
        checkpoints.save(trial, {"epoch": epoch}, final=False)
        resume(study, study.trials[trial.number])
        trial = study.ask()
        assert checkpoints.inherit(trial) == {"epoch": epoch}
    assert study.trials[trial.number].system_attrs["retry_history"] == [4, 5, 6]


def test_children_never_start_from_a_partial_checkpoint(
    study: optuna.Study, checkpoints: CheckpointStore
) -> None:
    for value in (90, 91):
        trial = study.ask()
        checkpoints.save(trial, {"epoch": 9}, final=False)
        study.tell(trial, value)
    child = next(t for t in (study.ask(), study.ask()) if lineage(study, t.number)[0] >= 4)
    with pytest.raises(Exception, match=r"saved no checkpoint"):
        checkpoints.inherit(child)


def test_within_a_generation_the_final_checkpoint_replaces_the_partial_one(
    study: optuna.Study, checkpoints: CheckpointStore, tmp_path: Path
) -> None:
    trial = cut_off(study)
    checkpoints.save(trial, {"epoch": 9}, final=False)
    checkpoints.save(trial, {"epoch": 10})
    assert checkpoints.load(trial) == {"epoch": 10}
    assert len(list(tmp_path.glob(f"*-{trial.number:06d}-*"))) == 1


def test_a_founder_that_was_cut_off_goes_on_too(checkpoints: CheckpointStore) -> None:
    study = optuna.create_study(sampler=EPBTSampler(4, seed=0))
    checkpoints.save(study.ask(), {"epoch": 3}, final=False)
    resume(study, study.trials[0])
    assert checkpoints.inherit(study.ask()) == {"epoch": 3}


@pytest.mark.parametrize("go_on", [resume, reopen])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_trial_of_another_study_cannot_be_taken_up(
    study: optuna.Study, go_on: Callable[..., Any], is_there: bool
) -> None:
    number = cut_off(study).number
    left = study.trials[number]
    left.datetime_start = datetime(2020, 1, 1)
    left.number += not is_there
    with pytest.raises(ValueError, match=r"must be one of study .* but got trial \d of another"):
        go_on(study, left)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 4 + ["RUNNING"]


def test_a_trial_that_has_ended_well_cannot_be_resumed(study: optuna.Study) -> None:
    with pytest.raises(ValueError, match="must be RUNNING or FAILED but trial 0 is COMPLETE"):
        resume(study, study.trials[0])


def test_a_reopened_trial_is_itself_and_goes_on_from_its_last_partial_checkpoint(
    study: optuna.Study, checkpoints: CheckpointStore
) -> None:
    trial = cut_off(study)
    checkpoints.save(trial, {"from": trial.number, "epoch": 9}, final=False)
    before = lineage(study, trial.number)
    again = reopen(study, study.trials[trial.number])
    assert (again.number, again.suggest_float("x", 0, 1)) == (trial.number, trial.params["x"])
    assert checkpoints.inherit(again) == {"from": trial.number, "epoch": 9}
    study.tell(again, 1.0)
    assert len(study.trials) == 5
    assert lineage(study, trial.number) == before
    assert study.trials[trial.number].state == TrialState.COMPLETE


def test_only_a_running_trial_can_be_reopened(study: optuna.Study) -> None:
    with pytest.raises(ValueError, match="`trial` must be RUNNING but trial 0 is COMPLETE"):
        reopen(study, study.trials[0])


def test_a_history_of_retries_that_is_damaged_does_not_keep_a_trial_from_being_resumed() -> None:
    study = optuna.create_study(sampler=EPBTSampler(2, seed=0))
    write_system_attr(study, study.ask(), "retry_history", None)
    resume(study, study.trials[0])
    retry = study.ask()
    assert read_system_attrs(study, retry)["retry_history"] == [0]
