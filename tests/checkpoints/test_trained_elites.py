"""What `collect` keeps where elites go on training, and where fitness is smoothed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from epbt_optuna import CheckpointError, CheckpointStore, EPBTSampler, resume


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path)


def least_fit(population: Sequence[Any], rng: np.random.Generator) -> Any:  # noqa: ARG001
    return population[-1]


def trained(smoothing: float = 0.0) -> optuna.Study:
    """A study of generations of four, of which two continue elites."""
    sampler = EPBTSampler(
        4,
        n_elites=2,
        selection=least_fit,
        train_elites=True,
        fitness_smoothing=smoothing,
        seed=0,
    )
    return optuna.create_study(direction="maximize", sampler=sampler)


def run(study: optuna.Study, checkpoints: CheckpointStore, *values: float) -> None:
    for value in values:
        trial = study.ask()
        checkpoints.save(trial, {"number": trial.number})
        study.tell(trial, value)


def kept(study: optuna.Study, checkpoints: CheckpointStore) -> set[int]:
    numbers = set()
    for trial in study.trials:
        with suppress(CheckpointError):
            numbers.add(checkpoints.load(trial)["number"])
    return numbers


def test_whom_the_slots_of_the_generation_in_progress_may_continue_is_kept(
    checkpoints: CheckpointStore,
) -> None:
    study = trained()
    run(study, checkpoints, 1, 2, 3, 4)
    for value in (5, 9, 7):
        run(study, checkpoints, value)
        checkpoints.collect(study)
        assert {0, 1, 2, 3} <= kept(study, checkpoints)
    run(study, checkpoints, 8)
    checkpoints.collect(study)
    assert kept(study, checkpoints) == {4, 5, 6, 7}


def test_whom_an_elite_continues_is_kept_as_long_as_it_runs_and_while_it_is_retried(
    checkpoints: CheckpointStore,
) -> None:
    study = trained()
    run(study, checkpoints, 1, 2, 3, 4)
    elite = study.ask()
    run(study, checkpoints, *range(10, 21))
    checkpoints.collect(study)
    assert checkpoints.inherit(elite) == {"number": 3}
    study.tell(elite, state=TrialState.FAIL)
    resume(study, study.trials[elite.number])
    checkpoints.collect(study)
    retry = study.ask()
    assert checkpoints.inherit(retry) == {"number": 3}
    study.tell(retry, 0.0)
    checkpoints.collect(study)
    assert 3 not in kept(study, checkpoints)


def test_the_winner_by_smoothed_fitness_is_kept_and_so_is_the_best_trial(tmp_path: Path) -> None:
    checkpoints = CheckpointStore(tmp_path)
    study = trained(smoothing=0.5)
    run(study, checkpoints, 0, 0, 0, 5)
    run(study, checkpoints, 5, 0, 9, 0)  # trial 6 is a poor one's offspring, and lucky
    run(study, checkpoints, *[0] * 12)
    assert isinstance(study.sampler, EPBTSampler)
    assert (study.sampler.fittest(study).number, study.best_trial.number) == (4, 6)
    checkpoints.collect(study)
    assert kept(study, checkpoints) == {4, 6, *range(16, 20)}
    resumed = optuna.load_study(study_name=study.study_name, storage=study._storage)
    assert CheckpointStore(tmp_path).collect(resumed) == []
