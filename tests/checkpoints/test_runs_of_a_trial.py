"""Whose partial checkpoint `inherit` returns: another run's of the same trial, never its own."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from epbt_optuna import CheckpointStore, EPBTSampler, reopen, resume
from epbt_optuna._internal.optuna import trial_id_of
from epbt_optuna._internal.optuna_loop import ask_again
from epbt_optuna.journal import journal_storage


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


@pytest.fixture(params=["in memory", "SQLite", "journal"])
def study(
    request: pytest.FixtureRequest, checkpoints: CheckpointStore, tmp_path: Path
) -> optuna.Study:
    """A study whose generation 0 is done: whoever the parent is, its state is `parent`."""
    storage: Any = None
    if request.param == "SQLite":
        storage = f"sqlite:///{tmp_path / 'study.db'}"
    elif request.param == "journal":
        storage = journal_storage(tmp_path / "study.log")
    study = optuna.create_study(storage=storage, sampler=EPBTSampler(4, seed=0))
    for _ in range(4):
        trial = study.ask()
        checkpoints.save(trial, "parent")
        study.tell(trial, trial.number)
    return study


def as_it_is(trial: optuna.Trial) -> optuna.Trial:
    return trial


def pickled(trial: optuna.Trial) -> optuna.Trial:
    copy = pickle.loads(pickle.dumps(trial))
    copy.study, copy.storage = trial.study, trial.storage  # a copy in memory is another study
    return copy  # type: ignore[no-any-return]


@pytest.mark.parametrize("copied", [as_it_is, pickled])
def test_the_next_fold_does_not_begin_with_what_the_one_before_has_saved(
    study: optuna.Study,
    checkpoints: CheckpointStore,
    copied: Callable[[optuna.Trial], optuna.Trial],
) -> None:
    trial = study.ask()
    for fold in range(3):
        of_fold = copied(trial)
        assert checkpoints.inherit(of_fold) == "parent"
        checkpoints.save(of_fold, f"trained without fold {fold}", final=False)


def test_nor_does_a_fold_in_another_thread(
    study: optuna.Study, checkpoints: CheckpointStore
) -> None:
    trial = study.ask()
    checkpoints.save(trial, "of fold 0", final=False)
    states: list[Any] = []
    thread = threading.Thread(target=lambda: states.append(checkpoints.inherit(trial)))
    thread.start()
    thread.join()
    assert states == ["parent"]


def another_live_trial(study: optuna.Study, trial: optuna.Trial) -> optuna.Trial:
    return ask_again(study, trial_id_of(trial))  # what a worker does in a new process


def reopened(study: optuna.Study, trial: optuna.Trial) -> optuna.Trial:
    return reopen(study, study.trials[trial.number])


def resumed(study: optuna.Study, trial: optuna.Trial) -> optuna.Trial:
    resume(study, study.trials[trial.number])
    return study.ask()


ANOTHER_RUN = [another_live_trial, reopened, resumed]


@pytest.mark.parametrize("run_again", ANOTHER_RUN)
def test_another_run_goes_on_with_what_the_one_before_has_saved_last(
    study: optuna.Study,
    checkpoints: CheckpointStore,
    run_again: Callable[[optuna.Study, optuna.Trial], optuna.Trial],
) -> None:
    trial = study.ask()
    for epoch in (1, 2):
        checkpoints.save(trial, epoch, final=False)
    again = run_again(study, trial)
    assert [checkpoints.inherit(again) for _ in range(2)] == [2, 2]
    assert pickle.loads(pickle.dumps(again)).number == again.number
    checkpoints.save(again, 3, final=False)
    assert checkpoints.inherit(again) == "parent"  # its own run's, now
    assert checkpoints.inherit(run_again(study, again)) == 3


@pytest.mark.parametrize("run_again", ANOTHER_RUN)
def test_another_run_of_a_trial_that_had_saved_nothing_starts_from_the_parent(
    study: optuna.Study,
    checkpoints: CheckpointStore,
    run_again: Callable[[optuna.Study, optuna.Trial], optuna.Trial],
) -> None:
    again = run_again(study, study.ask())
    assert checkpoints.inherit(again) == "parent"
    checkpoints.save(again, 1, final=False)
    assert checkpoints.inherit(again) == "parent"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_what_a_forked_child_has_saved_is_of_the_same_run(
    checkpoints: CheckpointStore, tmp_path: Path
) -> None:
    storage = journal_storage(tmp_path / "forked.log")
    study = optuna.create_study(storage=storage, sampler=EPBTSampler(4, seed=0))
    trial = study.ask()
    assert checkpoints.inherit(trial) is None
    child = multiprocessing.get_context("fork").Process(
        target=checkpoints.save_path, args=(trial, __file__), kwargs={"final": False}
    )
    child.start()
    child.join()
    assert child.exitcode == 0
    assert checkpoints.inherit(trial) is None
    assert checkpoints.inherit_path(reopen(study, study.trials[0]), tmp_path / "it") is not None
