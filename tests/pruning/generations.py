"""Generations that report what a test wants, for the tests of the pruner."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import optuna
import pytest
from optuna.pruners import BasePruner
from optuna.trial import TrialState

from epbt_optuna import EPBTPruner, EPBTSampler, PBTSampler
from tests.constraints import set_constraint

__all__ = [
    "INF",
    "NAN",
    "AnySampler",
    "Direction",
    "ask",
    "both_directions",
    "both_samplers",
    "experimental",
    "founders",
    "is_pruned",
    "new_study",
    "play",
]

NAN, INF = math.nan, math.inf

Direction = Literal["maximize", "minimize"]
AnySampler = EPBTSampler | PBTSampler

experimental = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
both_directions = pytest.mark.parametrize("direction", ["maximize", "minimize"])
both_samplers = pytest.mark.parametrize("sampler_class", [EPBTSampler, PBTSampler])


def new_study(
    sampler: optuna.samplers.BaseSampler,
    pruner: BasePruner | None = None,
    direction: Direction = "maximize",
) -> optuna.Study:
    return optuna.create_study(
        direction=direction, sampler=sampler, pruner=EPBTPruner() if pruner is None else pruner
    )


def ask(study: optuna.Study, reports: Sequence[float], first_step: int = 0) -> optuna.Trial:
    trial = study.ask()
    for step, value in enumerate(reports, start=first_step):
        trial.report(value, step)
    return trial


def play(
    study: optuna.Study,
    reports: Sequence[float],
    fitness: float | None = None,
    state: TrialState | None = None,
    violation: float | None = None,
) -> None:
    """A whole trial; without a `fitness` that is its last report."""
    trial = ask(study, reports)
    if violation is not None:
        set_constraint(trial, "c", violation)
    if state is None:
        study.tell(trial, reports[-1] if fitness is None else fitness)
    else:
        study.tell(trial, state=state)


def founders(
    study: optuna.Study, n: int, n_reports: int = 2, sign: float = 1, first: int = 1
) -> None:
    """Finished trials with the fitness 1, 2, …, which each reports from the beginning."""
    for fitness in range(first, first + n):
        play(study, [sign * fitness] * n_reports)


def is_pruned(study: optuna.Study, *reports: float) -> bool:
    """Whether the next trial is pruned after these reports, all at once."""
    return ask(study, reports).should_prune()
