"""The same seed gives the same study, whoever and however many run its trials."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from epbt_optuna import EPBTSampler, PBTSampler
from epbt_optuna.journal import journal_storage
from epbt_optuna.parallel import optimize
from epbt_optuna.samplers.generation import GenerationSampler
from tests.drills.training import RULES, Training, summary
from tests.replay import Rules, check_lineage

N_GENERATIONS = 5


@pytest.fixture
def libraries() -> tuple[str, ...]:
    return ("torch",)


class MishapError(Exception):
    """Fails a trial."""


def make_objective(training: Training) -> Callable[[optuna.Trial], float]:
    """Return the training of the drills, where some trials are pruned and some fail."""

    def objective(trial: optuna.Trial) -> float:
        value = training(trial)
        time.sleep(0.01 * (trial.number % 4))  # so that trials do not end in order
        if trial.params["rate"] > 0.3:
            raise optuna.TrialPruned
        if trial.number % 7 == 5:
            raise MishapError
        return value

    return objective


def study_in(folder: Path, sampler: GenerationSampler) -> optuna.Study:
    folder.mkdir()
    storage = journal_storage(folder / "log")
    return optuna.create_study(storage=storage, sampler=sampler, direction=RULES.direction)


def run(study: optuna.Study, folder: Path, engine: Any, workers: int) -> list[dict[str, Any]]:
    """Run all trials and return what the runs must have in common."""
    training = Training(folder / "checkpoints")
    objective = make_objective(training)
    options: dict[str, Any] = {
        "catch": MishapError,
        "callbacks": [training.checkpoints.collector()],
    }
    if engine == "serial":
        assert isinstance(study.sampler, GenerationSampler)
        study.optimize(objective, n_trials=study.sampler.n_trials(N_GENERATIONS), **options)
    else:
        devices = ["cpu"] * workers
        optimize(
            study, objective, n_generations=N_GENERATIONS, devices=devices, engine=engine, **options
        )
    return [summary(trial) for trial in study.trials]


def make_epbt() -> GenerationSampler:
    return EPBTSampler(RULES.population_size, n_elites=RULES.n_elites, seed=1)


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("serial") / "run"
    study = study_in(folder, make_epbt())
    summaries = run(study, folder, "serial", 1)
    states = {trial.state for trial in study.trials}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
    check_lineage(study.trials, RULES)
    return summaries


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("engine", ["thread", "process"])
def test_the_same_seed_gives_the_same_study_for_any_number_of_workers(
    tmp_path: Path, serial: list[dict[str, Any]], engine: str, workers: int
) -> None:
    folder = tmp_path / "run"
    assert run(study_in(folder, make_epbt()), folder, engine, workers) == serial


# Starting processes takes longest: they run both settings at once.
@pytest.mark.parametrize(
    ("train_elites", "smoothing", "engines"),
    [
        (True, 0.0, {"thread": 3}),
        (False, 0.5, {"thread": 3}),
        (True, 0.5, {"thread": 3, "process": 2}),
    ],
)
def test_the_same_seed_gives_the_same_study_with_trained_elites_and_smoothed_fitness_too(
    tmp_path: Path, train_elites: bool, smoothing: float, engines: dict[str, int]
) -> None:
    def make() -> GenerationSampler:
        return EPBTSampler(
            RULES.population_size,
            n_elites=RULES.n_elites,
            train_elites=train_elites,
            fitness_smoothing=smoothing,
            seed=1,
        )

    rules = replace(RULES, train_elites=train_elites, fitness_smoothing=smoothing)
    summaries = []
    for engine, workers in {"serial": 1, **engines}.items():
        study = study_in(tmp_path / engine, make())
        summaries.append(run(study, tmp_path / engine, engine, workers))
        check_lineage(study.trials, rules)
        states = {trial.state for trial in study.trials}
        assert states == {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
    assert all(summary == summaries[0] for summary in summaries)


def test_the_same_seed_gives_the_same_study_for_pbt_too(tmp_path: Path) -> None:
    summaries = []
    for engine in ("serial", "thread"):
        study = study_in(tmp_path / engine, PBTSampler(4, seed=1))
        summaries.append(run(study, tmp_path / engine, engine, workers=3))
        check_lineage(study.trials, Rules(4, 0, RULES.direction))
    assert summaries[0] == summaries[1]
