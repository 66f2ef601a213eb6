"""Studies of every kind for the tests of samplers, and what to read from them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from epbt_optuna import EPBTSampler, GaussianMutation, PBTSampler, UniformCrossover
from tests.constraints import set_constraint
from tests.replay import Rules, lineage_of

__all__ = [
    "SPACE",
    "SUGGESTIONS",
    "AnySampler",
    "Direction",
    "Objective",
    "both_samplers",
    "bred",
    "eventful",
    "evolve",
    "experimental",
    "fitness_of",
    "mate_of",
    "numbers",
    "one_float",
    "parent_of",
    "plain",
    "record_of",
    "rules_of",
    "still",
    "suggest_all",
    "xy",
]

SUGGESTIONS: dict[str, Callable[[optuna.Trial], Any]] = {
    "float": lambda trial: trial.suggest_float("float", -5, 5),
    "log float": lambda trial: trial.suggest_float("log float", 1e-4, 1, log=True),
    "stepped float": lambda trial: trial.suggest_float("stepped float", 0, 1, step=0.1),
    "int": lambda trial: trial.suggest_int("int", -20, 20),
    "log int": lambda trial: trial.suggest_int("log int", 1, 500, log=True),
    "category": lambda trial: trial.suggest_categorical("category", ["a", "b", None]),
}
SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(0, 1),
    "y": FloatDistribution(0, 1),
    "z": FloatDistribution(0, 1),
}

Direction = Literal["maximize", "minimize"]
Objective = Callable[[optuna.Trial], float]
AnySampler = EPBTSampler | PBTSampler

experimental = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
both_samplers = pytest.mark.parametrize("sampler_class", [EPBTSampler, PBTSampler])


def suggest_all(trial: optuna.Trial) -> None:
    for suggest in SUGGESTIONS.values():
        suggest(trial)


def fitness_of(number: int) -> float:
    """A fitness that depends on the trial's number alone, with ties."""
    return round(float(np.random.default_rng([9, number]).normal()), 1)


def one_float(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


def plain(trial: optuna.Trial) -> float:
    suggest_all(trial)
    return fitness_of(trial.number)


def eventful(trial: optuna.Trial) -> float:
    """Everything that a trial can meet: pruned, failed, infinite, infeasible."""
    suggest_all(trial)
    number = trial.number
    if number % 11 == 5:
        raise optuna.TrialPruned
    if number % 13 == 7:
        return math.nan
    if number % 6 == 1:
        set_constraint(trial, "first", number % 4 - 1)
        set_constraint(trial, "second", -1.0)
    if number % 17 == 3:
        return math.inf
    if number % 19 == 4:
        return -math.inf
    return fitness_of(number)


def evolve(
    sampler: optuna.samplers.BaseSampler,
    n_trials: int,
    objective: Objective = plain,
    *,
    direction: Direction = "maximize",
    storage: BaseStorage | None = None,
) -> optuna.Study:
    study = optuna.create_study(direction=direction, sampler=sampler, storage=storage)
    study.optimize(objective, n_trials=n_trials)
    return study


def record_of(study: optuna.Study) -> list[Any]:
    """All that a run decides, trial by trial, as JSON has it."""
    record = [
        [trial.number, trial.state.name, trial.params, trial.values, lineage_of(trial)]
        for trial in study.trials
    ]
    return list(json.loads(json.dumps(record)))


def parent_of(trial: FrozenTrial) -> int | None:
    record = lineage_of(trial)
    assert record is not None
    parent: int | None = record["parent"]
    return parent


def mate_of(trial: FrozenTrial) -> int | None:
    record = lineage_of(trial)
    assert record is not None
    mate: int | None = record["mate"]
    return mate


def bred(study: optuna.Study) -> list[tuple[FrozenTrial, FrozenTrial]]:
    """Return every trial that has a parent, with its parent."""
    trials = study.trials
    parents = {trial.number: (lineage_of(trial) or {}).get("parent") for trial in trials}
    return [(trials[n], trials[parent]) for n, parent in parents.items() if parent is not None]


def rules_of(sampler: AnySampler, study: optuna.Study) -> Rules:
    assert sampler.population_size is not None
    generations = sampler.generations
    return Rules(
        sampler.population_size,
        sampler.n_elites,
        study.direction,
        generations.train_elites,
        generations.fitness_smoothing,
    )


def numbers(trials: list[FrozenTrial]) -> list[int]:
    return [trial.number for trial in trials]


def still(**options: Any) -> EPBTSampler:
    """An EPBTSampler whose offspring are their parents' copies."""
    return EPBTSampler(
        mutation=GaussianMutation(0.0, 0.0), crossover=UniformCrossover(0.0), **options
    )


def xy(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1) - trial.suggest_float("y", 0, 1)
