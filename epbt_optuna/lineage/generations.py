"""How each generation did: fitness and diversity of the population, and what it cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna.genome import NumericalDistribution, own_value, spread
from epbt_optuna.lineage.history import History
from epbt_optuna.population import Individual

__all__ = ["GenerationSummary", "summarize_generations"]


class GenerationSummary(NamedTuple):
    """One generation g in numbers.

    What was trained is counted over the generation's own trials; fitness and diversity are those
    of the population M_g alive after it, elites included, as far as its trials have finished.
    Values are the trials' own, also where the sampler smooths fitness.

    Attributes:
        generation: Its number, g.
        n_complete: Trials that were evaluated.
        n_pruned: Trials that were pruned.
        n_failed: Trials that failed.
        n_unfinished: Trials that still run or wait; trials not asked yet are not counted.
        best: Value of the fittest of M_g: the greatest, or the least where the study minimises
            (with constraints: of the feasible). NaN, like the next three, if nobody is alive.
        mean: Mean value.
        median: Median value.
        worst: Value of the least fit.
        diversity: How much the genomes of M_g differ, the mean over their variables: for numbers
            the standard deviation, in units of the range, in [0, ½] (logarithms of both where
            the variable is logarithmic); for categories the Gini impurity, 1 − Σ p². 0: all are
            the same; NaN: nobody is alive. Values that were enqueued outside of the range count, so
            it may be more, and is NaN with an infinite one.
        n_reports: Values that the trials reported: epochs trained, where each reports one.
        best_trial: Number of the fittest, of several the first; or None.
    """

    generation: int
    n_complete: int
    n_pruned: int
    n_failed: int
    n_unfinished: int
    best: float
    mean: float
    median: float
    worst: float
    diversity: float
    n_reports: int
    best_trial: int | None


def summarize_generations(study: Study) -> list[GenerationSummary]:
    """Summarise every generation that has begun, generation 0 first.

    Args:
        study: A study that a sampler of ours has bred in.

    Raises:
        ValueError: The study is empty or not ours.
    """
    history = History.of(study)
    return [_summarize(history, generation) for generation in range(history.n_generations)]


def _summarize(history: History, generation: int) -> GenerationSummary:
    trials = history.of_generation(generation)
    states = Counter(trial.state for trial in trials)
    alive = [history.trials[individual.number] for individual in history.populations[generation]]
    population = sorted(
        alive, key=lambda trial: Individual.of(trial, history.direction).best_key, reverse=True
    )
    values = np.array([trial.values[0] for trial in population], dtype=float)
    with np.errstate(all="ignore"):  # the mean of ∞ and −∞ is NaN, and that is no accident
        mean, median = (
            (float(np.mean(values)), float(np.median(values))) if population else (math.nan,) * 2
        )
    return GenerationSummary(
        generation=generation,
        n_complete=states[TrialState.COMPLETE],
        n_pruned=states[TrialState.PRUNED],
        n_failed=states[TrialState.FAIL],
        n_unfinished=states[TrialState.RUNNING] + states[TrialState.WAITING],
        best=float(values[0]) if population else math.nan,
        mean=mean,
        median=median,
        worst=float(values[-1]) if population else math.nan,
        diversity=_diversity(population),
        n_reports=sum(len(trial.intermediate_values) for trial in trials),
        best_trial=population[0].number if population else None,
    )


def _diversity(population: Sequence[FrozenTrial]) -> float:
    if not population:
        return math.nan
    distributions: dict[str, BaseDistribution] = {}
    for trial in sorted(population, key=lambda trial: trial.number):
        distributions.update(trial.distributions)  # of a range that has changed, the newest
    if not distributions:
        return 0.0
    return float(
        np.mean(
            [
                _spread_of([t.params[name] for t in population if name in t.params], distribution)
                for name, distribution in distributions.items()
            ]
        )
    )


def _spread_of(values: Sequence[Any], distribution: BaseDistribution) -> float:
    if isinstance(distribution, CategoricalDistribution):
        # Added trials may have lists for tuples, or other categories, which Optuna has no index of.
        own = [own_value(distribution, value) for value in values]
        choices = distribution.choices
        counts = Counter(choices.index(c) if c in choices else repr(c) for c in own)
        shares = np.array(list(counts.values())) / len(values)
        return 1 - float(np.sum(shares**2))
    assert isinstance(distribution, NumericalDistribution)
    width = spread(distribution)
    if not width:
        return 0.0
    numbers = np.array(values, dtype=float)
    with np.errstate(all="ignore"):  # a user may enqueue infinity
        return float(np.std((np.log(numbers) if distribution.log else numbers) / width))
