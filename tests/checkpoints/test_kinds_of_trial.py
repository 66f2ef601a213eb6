"""Which trials inherit and save: live ones that a sampler of ours has asked, and what others do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import PartialFixedSampler, RandomSampler
from optuna.trial import FixedTrial, TrialState

from epbt_optuna import CheckpointError, CheckpointStore, EPBTSampler, PBTSampler, resume
from epbt_optuna.lineage import ReplaySampler, Schedule


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


Objective = Callable[[optuna.Trial], float]


def objective_with(checkpoints: CheckpointStore, **options: Any) -> Objective:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        age = checkpoints.inherit(trial, **options) or 0
        checkpoints.save(trial, age + 1)
        return x

    return objective


def ages(study: optuna.Study, checkpoints: CheckpointStore) -> list[int]:
    return [checkpoints.load(trial) for trial in study.trials]


# Studies that are opened without their sampler


@pytest.mark.parametrize("sampler", [EPBTSampler(4, seed=0), PBTSampler(4, seed=0)])
@pytest.mark.parametrize("n_trials", [1, 4, 8], ids="after {} trials".format)
def test_a_study_that_is_opened_without_its_sampler_trains_nobody_from_scratch(
    checkpoints: CheckpointStore, tmp_path: Path, sampler: Any, n_trials: int
) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    objective = objective_with(checkpoints)
    study = optuna.create_study(study_name="mine", storage=url, sampler=sampler)
    study.optimize(objective, n_trials=n_trials)
    again = optuna.load_study(study_name="mine", storage=url)
    message = (
        f"Trial {n_trials} of study 'mine' has no parent to inherit from: TPESampler asked it.*"
        r"optuna.load_study\(..., sampler=EPBTSampler\(...\)\).*missing='fresh'"
    )
    with pytest.raises(CheckpointError, match=message):
        again.optimize(objective, n_trials=1)
    again.optimize(objective_with(checkpoints, missing="fresh"), n_trials=1)
    assert checkpoints.load(again.trials[-1]) == 1
    again.sampler = sampler
    again.optimize(objective, n_trials=2)


def test_trials_asked_before_a_sampler_of_ours_was_first_used_are_founders(
    checkpoints: CheckpointStore,
) -> None:
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    early = [study.ask(), study.ask()]
    study.sampler = EPBTSampler(4, seed=0)
    ours = study.ask()
    assert [checkpoints.inherit(trial) for trial in (*early, ours)] == [None] * 3
    study.sampler = RandomSampler(seed=0)
    with pytest.raises(CheckpointError, match="RandomSampler asked it"):
        checkpoints.inherit(study.ask())


def test_a_damaged_lineage_shows_too_that_a_sampler_of_ours_was_used(
    checkpoints: CheckpointStore,
) -> None:
    study = optuna.create_study(sampler=EPBTSampler(4, seed=0))
    ours = study.ask()
    study._storage.set_trial_system_attr(ours._trial_id, "epbt:lineage", 7)
    study.sampler = RandomSampler(seed=0)
    with pytest.raises(CheckpointError, match=r"Trial 1 .* has no parent to inherit from"):
        checkpoints.inherit(study.ask())


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_wrapped_sampler_is_ours(checkpoints: CheckpointStore) -> None:
    sampler = PartialFixedSampler({"x": 0.5}, EPBTSampler(2, seed=0))
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective_with(checkpoints), n_trials=4)
    assert ages(study, checkpoints)[2:] != [1, 1]


def test_enqueued_trials_are_asked_by_our_sampler(checkpoints: CheckpointStore) -> None:
    study = optuna.create_study(sampler=EPBTSampler(2, n_elites=1, seed=0))
    study.optimize(objective_with(checkpoints), n_trials=2)
    study.enqueue_trial({"x": 0.25})
    study.optimize(objective_with(checkpoints), n_trials=1)
    assert ages(study, checkpoints) == [1, 1, 2]


def test_a_retry_that_another_sampler_has_asked_has_the_parent_of_the_trial_that_was_cut_off(
    checkpoints: CheckpointStore,
) -> None:
    study = optuna.create_study(sampler=EPBTSampler(2, n_elites=1, seed=0))
    study.optimize(objective_with(checkpoints), n_trials=2)
    cut_off = study.ask()
    resume(study, study.trials[cut_off.number])
    study.sampler = RandomSampler(seed=0)
    assert checkpoints.inherit(study.ask()) == 1


def test_a_replay_that_is_opened_without_its_sampler_is_an_error_too(
    checkpoints: CheckpointStore,
) -> None:
    evolved = optuna.create_study(sampler=EPBTSampler(2, n_elites=1, seed=0))
    evolved.optimize(objective_with(checkpoints), n_trials=4)
    study = optuna.create_study(sampler=ReplaySampler(Schedule.from_study(evolved)))
    study.optimize(objective_with(checkpoints), n_trials=1)
    study.sampler = RandomSampler(seed=0)
    with pytest.raises(CheckpointError, match="RandomSampler asked it"):
        checkpoints.inherit(study.ask())


def test_studies_that_have_no_generations_have_founders_only(checkpoints: CheckpointStore) -> None:
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    study.optimize(objective_with(checkpoints), n_trials=3)
    assert ages(study, checkpoints) == [1, 1, 1]


# Objectives that are run again without a study


@pytest.fixture
def study(checkpoints: CheckpointStore) -> optuna.Study:
    study = optuna.create_study(sampler=EPBTSampler(2, n_elites=1, seed=0))
    study.optimize(objective_with(checkpoints), n_trials=4)
    return study


def no_live_trials(study: optuna.Study) -> list[Any]:
    created = optuna.create_trial(value=1.0)
    return [study.best_trial, study.trials[3], created, FixedTrial({"x": 0.5}, number=3)]


def test_an_objective_that_takes_fresh_weights_is_run_again_to_its_end(
    study: optuna.Study, checkpoints: CheckpointStore, caplog: pytest.LogCaptureFixture
) -> None:
    before = [checkpoints.load(trial) for trial in study.trials]
    objective = objective_with(checkpoints, missing="fresh")
    assert objective(study.best_trial) == study.best_value  # type: ignore[arg-type]
    for _ in range(3):
        assert objective(FixedTrial({"x": 0.5}, number=77)) == 0.5  # type: ignore[arg-type]
    text = "Nothing is saved for trial 77: it is a FixedTrial, not a live trial."
    assert caplog.text.count(text) == 1
    assert [checkpoints.load(trial) for trial in study.trials] == before


def test_else_it_is_a_type_error_that_says_what_to_pass(
    study: optuna.Study, checkpoints: CheckpointStore, tmp_path: Path
) -> None:
    for trial in no_live_trials(study):
        for inherit in (
            lambda trial: checkpoints.inherit(trial),
            lambda trial: checkpoints.inherit_path(trial, tmp_path / "it"),
        ):
            with pytest.raises(TypeError, match=r"must be the live trial .* Pass `missing='fresh'"):
                inherit(trial)
        assert checkpoints.inherit(trial, missing="fresh") is None
        assert checkpoints.inherit_path(trial, tmp_path / "it", missing="fresh") is None


def test_save_path_does_nothing_there_either(
    study: optuna.Study, checkpoints: CheckpointStore, caplog: pytest.LogCaptureFixture
) -> None:
    for trial in no_live_trials(study):
        with caplog.at_level(logging.WARNING):
            checkpoints.save_path(trial, "there is no such file")
    assert checkpoints.load(study.trials[3]) in (1, 2, 3)


def test_a_trial_without_a_study_has_nothing_to_load(checkpoints: CheckpointStore) -> None:
    with pytest.raises(TypeError, match=r"such as `study.best_trial`, but got a FixedTrial\.$"):
        checkpoints.load(FixedTrial({}))  # type: ignore[arg-type]


class TorchDistributedTrial:
    """As optuna-integration's in what is looked at: its name."""


@pytest.mark.parametrize(
    ("trial", "message"),
    [
        (TorchDistributedTrial(), r"TorchDistributedTrial: pass the trial that .* on rank 0, and"),
        (None, r"but got a NoneType\.$"),
        (3, r"but got a int\.$"),
        (
            optuna.create_trial(state=TrialState.WAITING),
            r"FrozenTrial that is WAITING: `epbt_optuna.reopen` makes a live one of it",
        ),
    ],
    ids=["distributed", "none", "a number", "waiting"],
)
def test_anything_else_is_refused_whatever_is_done_with_it(
    checkpoints: CheckpointStore, trial: Any, message: str
) -> None:
    uses: list[Callable[[], Any]] = [
        lambda: checkpoints.inherit(trial),
        lambda: checkpoints.inherit(trial, missing="fresh"),
        lambda: checkpoints.save(trial, {}),
        lambda: checkpoints.save_path(trial, __file__),
    ]
    for use in uses:
        with pytest.raises(TypeError, match=f"`trial` must be .*{message}"):
            use()
