"""What a network had reported before its trial was cut off counts, once, wherever reports do."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState

from epbt_optuna import CheckpointStore, EPBTPruner, EPBTSampler, reopen, resume
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import read_trial
from epbt_optuna.checkpoints.reports import reports_of
from epbt_optuna.lineage import Schedule
from epbt_optuna.tracking.runs import TrialRun
from tests.samplers.studies import experimental


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(sampler=EPBTSampler(4, seed=0), direction="maximize")


def train(
    checkpoints: CheckpointStore,
    trial: optuna.Trial,
    steps: range,
    *,
    save_at: int | None = None,
    value: float = 0.0,
) -> None:
    """Report once an epoch, and save within the generation after one of them."""
    for step in steps:
        trial.report(value + step, step)
        if step == save_at:
            checkpoints.save(trial, {"epoch": step + 1}, final=False)


def resumed(study: optuna.Study, trial: optuna.Trial) -> optuna.Trial:
    resume(study, study.trials[trial.number])
    return study.ask()


def retried(study: optuna.Study, trial: optuna.Trial, **options: Any) -> optuna.Trial:
    study.tell(trial, state=TrialState.FAIL)
    RetryHeartbeatStaleTrialCallback(**options)(study, study.trials[trial.number])
    return study.ask()


def reopened(study: optuna.Study, trial: optuna.Trial) -> optuna.Trial:
    return reopen(study, study.trials[trial.number])


RunAgain = Callable[[optuna.Study, optuna.Trial], optuna.Trial]
RETRIES: dict[str, RunAgain] = {
    "resume": resumed,
    "heartbeat": retried,
    "heartbeat that copies reports": partial(retried, inherit_intermediate_values=True),
    "reopen": reopened,
}


def reports(study: optuna.Study, number: int) -> list[tuple[int, float]]:
    identity = StudyIdentity.of(study)
    found = reports_of(study.trials[number], identity, partial(read_trial, study))
    return [(report.step, report.value) for report in found]


def n_reports(study: optuna.Study, number: int) -> int:
    """Return how many reports a trial's step of the schedule has; and check who else counts."""
    (step,) = Schedule.from_study(study, number).steps
    identity = StudyIdentity.of(study)
    found = reports_of(study.trials[number], identity, partial(read_trial, study))
    run = TrialRun.of(study.trials[number], None, identity, found)
    assert [value.key for value in run.values].count("intermediate_value") == step.n_reports
    return step.n_reports


@experimental
@pytest.mark.filterwarnings("ignore:The reported value is ignored:UserWarning")
@pytest.mark.parametrize("how", RETRIES)
def test_eight_epochs_are_eight_though_the_trial_was_cut_off_after_six(
    study: optuna.Study, checkpoints: CheckpointStore, how: str
) -> None:
    trial = study.ask()
    train(checkpoints, trial, range(6), save_at=3)  # the last two are trained in vain
    again = RETRIES[how](study, trial)
    state = checkpoints.inherit(again)
    assert state == {"epoch": 4}
    train(checkpoints, again, range(4, 8))
    checkpoints.save(again, {"epoch": 8})
    study.tell(again, 1.0)
    assert n_reports(study, again.number) == 8
    assert [step for step, _ in reports(study, again.number)] == list(range(8))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (range(4, 8), 8),  # they go on
        (range(3, 8), 8),  # from the epoch that was saved, once more
        (range(4), 8),  # they begin anew
        (range(8), 12),  # and the objective trains as long again
        (range(0), 4),  # it does not train at all
    ],
)
def test_the_steps_of_a_retry_go_on_or_begin_anew(
    study: optuna.Study, checkpoints: CheckpointStore, steps: range, expected: int
) -> None:
    trial = study.ask()
    train(checkpoints, trial, range(6), save_at=3)
    again = resumed(study, trial)
    checkpoints.inherit(again)
    train(checkpoints, again, steps, value=100.0)
    study.tell(again, 1.0)
    assert n_reports(study, again.number) == expected
    values = [value for _, value in reports(study, again.number)]
    assert values[len(values) - len(steps) :] == [100.0 + step for step in steps]


def test_of_a_trial_that_is_cut_off_again_and_again_every_epoch_counts_once(
    study: optuna.Study, checkpoints: CheckpointStore
) -> None:
    trial = study.ask()
    for first in range(0, 30, 3):
        train(checkpoints, trial, range(first, first + 5), save_at=first + 2, value=trial.number)
        trial = resumed(study, trial)
        assert checkpoints.inherit(trial) == {"epoch": first + 3}
    study.tell(trial, 1.0)
    assert reports(study, trial.number) == [(step, step // 3 + step) for step in range(30)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CheckpointStore:
    return CheckpointStore(tmp_path_factory.mktemp("checkpoints"))


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=5), st.integers(0, 4))
def test_every_epoch_that_a_network_was_trained_for_counts_once(
    store: CheckpointStore, runs: list[tuple[int, int]], last: int
) -> None:
    """Runs that report and save so many epochs, and then some in vain; and one that ends."""
    study = optuna.create_study(sampler=EPBTSampler(4, seed=0))
    trial, epoch = study.ask(), 0
    for saved, in_vain in runs:
        if not epoch:
            store.save(trial, 0, final=False)
        train(store, trial, range(epoch, epoch + saved + in_vain), save_at=epoch + saved - 1)
        epoch += saved
        trial = resumed(study, trial)
        store.inherit(trial)
    train(store, trial, range(epoch, epoch + last))
    found = [step for step, _ in reports(study, trial.number)]
    assert found == list(range(epoch + last))


@pytest.mark.parametrize("n_retries", [1, 2])
def test_a_retry_that_starts_from_the_parent_has_its_own_reports_only(
    study: optuna.Study, checkpoints: CheckpointStore, tmp_path: Path, n_retries: int
) -> None:
    trial = study.ask()
    train(checkpoints, trial, range(6), save_at=3)
    for _ in range(n_retries - 1):  # what the last one goes on with is copied to the next
        trial = resumed(study, trial)
        assert checkpoints.inherit(trial) == {"epoch": 4}
    for file in (tmp_path / "checkpoints").iterdir():
        file.unlink()
    trial = resumed(study, trial)
    assert checkpoints.inherit(trial) is None
    train(checkpoints, trial, range(4, 8))
    study.tell(trial, 1.0)
    assert [value for _, value in reports(study, trial.number)] == list(range(4, 8))
    assert n_reports(study, trial.number) == 4


def test_a_partial_checkpoint_of_an_earlier_version_brings_no_reports(
    study: optuna.Study, checkpoints: CheckpointStore
) -> None:
    trial = study.ask()
    train(checkpoints, trial, range(6), save_at=3)
    record = dict(study.trials[0].system_attrs["epbt:checkpoint"])
    del record["n_reports"], record["inherited"]
    study._storage.set_trial_system_attr(trial._trial_id, "epbt:checkpoint", record)
    again = resumed(study, trial)
    assert checkpoints.inherit(again) == {"epoch": 4}
    train(checkpoints, again, range(4, 8))
    study.tell(again, 1.0)
    assert n_reports(study, again.number) == 4


def test_ten_thousand_reports_take_no_more_room_than_one(
    study: optuna.Study, checkpoints: CheckpointStore
) -> None:
    trial = study.ask()
    train(checkpoints, trial, range(10_000), save_at=9_999)
    again = resumed(study, trial)
    checkpoints.inherit(again)
    study.tell(again, 1.0)
    attrs = {k: v for k, v in study.trials[1].system_attrs.items() if k.startswith("epbt:")}
    assert len(json.dumps(attrs)) < 1000
    assert n_reports(study, again.number) == 10_000


def test_another_studys_trial_brings_its_own_reports_only(
    study: optuna.Study, checkpoints: CheckpointStore
) -> None:
    trial = study.ask()
    train(checkpoints, trial, range(4), save_at=3)
    again = resumed(study, trial)
    checkpoints.inherit(again)
    train(checkpoints, again, range(4, 8))
    study.tell(again, 1.0)
    other = optuna.create_study(sampler=EPBTSampler(4, seed=0), direction="maximize")
    other.ask().report(7.0, 7)
    other.add_trial(study.trials[1])
    assert len(reports(study, 1)) == 8
    assert reports(other, 1) == [(step, step) for step in range(4, 8)]


@pytest.mark.parametrize(("value", "is_pruned"), [(2.0, True), (4.5, False)])
def test_the_pruner_compares_a_retry_with_what_siblings_had_after_as_many_reports(
    checkpoints: CheckpointStore, value: float, is_pruned: bool
) -> None:
    sampler = EPBTSampler(6, n_elites=0, seed=0)
    pruner = EPBTPruner(n_min_trials=4, n_warmup_steps=4)
    study = optuna.create_study(sampler=sampler, pruner=pruner, direction="maximize")
    for _ in range(4):
        trial = study.ask()
        train(checkpoints, trial, range(8))  # 0, 1, 2, …: 4 after the fifth report
        study.tell(trial, 7.0)
    trial = study.ask()
    train(checkpoints, trial, range(6), save_at=3)
    again = resumed(study, trial)
    checkpoints.inherit(again)
    again.report(value, 4)  # its first, and its network's fifth
    assert again.should_prune() == is_pruned
