"""Trials that are trained in batches are runs like any others."""

from __future__ import annotations

import math

import optuna

from epbt_optuna.batched import Generation, optimize
from epbt_optuna.tracking import MLflowTracker
from tests.tracking.checks import check
from tests.tracking.training import make_study


def objective(generation: Generation) -> list[float]:
    """Train nothing; the first member is pruned, the second fails."""
    x = generation.suggest_float("x", 0.0, 1.0).tolist()
    for epoch in range(3):
        generation.report([-1.0, *(epoch * value for value in x[1:])], epoch)
        generation.should_prune()
    return [x[0], math.nan, *x[2:]]


def test_trials_of_batches_are_runs_like_any_others(database: str) -> None:
    study = make_study()
    study.pruner = optuna.pruners.ThresholdPruner(lower=0.0)
    with MLflowTracker(database, pictures_every=0) as tracker:
        optimize(study, objective, n_generations=3, callbacks=[tracker])
    runs = check(study, database, 12)
    first = [runs[number].info.status for number in range(6)]
    assert first == ["KILLED", "FAILED", *["FINISHED"] * 4]
    assert runs[1].data.tags["epbt.error"] == "The objective returned NaN for it."
