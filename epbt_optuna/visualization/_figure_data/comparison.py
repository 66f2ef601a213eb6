"""What `plot_comparison` shows: means and errors over repeated runs, as in figures 2 to 4."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from statistics import fmean, stdev
from typing import Literal, NamedTuple, TypeAlias, get_args

from optuna import Study

from epbt_optuna._internal.checks import check_number
from epbt_optuna.lineage import summarize_generations
from epbt_optuna.population import Generations

__all__ = ["ComparisonInfo", "ComparisonLine", "ErrorKind", "Run", "comparison_info"]

Run: TypeAlias = Study | Sequence[tuple[float, float]]
"""A study, or what was measured: (epoch, value) pairs."""

ErrorKind: TypeAlias = Literal["sd", "se"]
_ERROR_NAMES = {"sd": "standard deviation", "se": "standard error"}


class ComparisonLine(NamedTuple):
    """One name's runs.

    Attributes:
        name: What they have in common.
        n_runs: How many there are.
        epochs: The epochs that all of them have, ascending.
        means: The mean over the runs at each epoch.
        errors: The standard deviation or error over the runs at each epoch; 0 for a single run.
    """

    name: str
    n_runs: int
    epochs: list[float]
    means: list[float]
    errors: list[float]


class ComparisonInfo(NamedTuple):
    """Everything that `plot_comparison` draws.

    Attributes:
        lines: One for each name, in the order given.
        error_name: What the bands are, in words.
        zoom_epochs: From where to where the zoomed panel goes.
        zoom_values: Its range of values: that of the lines with their bands, and a margin.
    """

    lines: list[ComparisonLine]
    error_name: str
    zoom_epochs: tuple[float, float]
    zoom_values: tuple[float, float]


def comparison_info(
    runs: Mapping[str, Sequence[Run]], error: ErrorKind, zoom_from: float | None
) -> ComparisonInfo:
    """Return the mean and the error of each name's runs; see `plot_comparison` for the rest."""
    if error not in get_args(ErrorKind):
        raise ValueError(f"`error` must be one of {get_args(ErrorKind)} but got {error!r}.")
    if not runs:
        raise ValueError("`runs` must name at least one list of runs but is empty.")
    lines = [_line(name, list(repetitions), error) for name, repetitions in runs.items()]
    first, last = min(line.epochs[0] for line in lines), max(line.epochs[-1] for line in lines)
    if zoom_from is None:
        zoom_from = (first + last) / 2
    check_number("zoom_from", zoom_from)
    if zoom_from > last:
        raise ValueError(
            f"`zoom_from` must be at most the last epoch, {last:g}, but got {zoom_from}."
        )
    zoom_values = _value_range(lines, zoom_from)
    return ComparisonInfo(lines, _ERROR_NAMES[error], (zoom_from, last), zoom_values)


def _line(name: str, runs: list[Run], error: ErrorKind) -> ComparisonLine:
    if not runs:
        raise ValueError(f"`runs[{name!r}]` must hold at least one run but is empty.")
    curves = [_curve(name, run) for run in runs]
    epochs = sorted(set.intersection(*(set(curve) for curve in curves)))
    if not epochs:
        raise ValueError(f"The runs in `runs[{name!r}]` must share an epoch but share none.")
    values = [[curve[epoch] for curve in curves] for epoch in epochs]
    means = [fmean(at_epoch) for at_epoch in values]
    return ComparisonLine(name, len(runs), epochs, means, [_error(v, error) for v in values])


def _curve(name: str, run: Run) -> dict[float, float]:
    curve = _fitness_over_epochs(run) if isinstance(run, Study) else dict(run)
    if not curve:
        raise ValueError(f"A run in `runs[{name!r}]` has no values.")
    if bad := [number for pair in curve.items() for number in pair if not math.isfinite(number)]:
        raise ValueError(f"The runs in `runs[{name!r}]` must be finite but hold {bad[0]}.")
    return curve


def _error(values: list[float], error: ErrorKind) -> float:
    if len(values) < 2:
        return 0.0
    return stdev(values) / (math.sqrt(len(values)) if error == "se" else 1.0)


def _value_range(lines: list[ComparisonLine], zoom_from: float) -> tuple[float, float]:
    """Return the range of what is seen from an epoch on, with a margin of 5 % on both sides."""
    seen = [
        bound
        for line in lines
        for epoch, value, error in zip(line.epochs, line.means, line.errors, strict=True)
        if epoch >= zoom_from
        for bound in (value - error, value + error)
    ]
    low, high = min(seen), max(seen)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    return low - margin, high + margin


def _fitness_over_epochs(study: Study) -> dict[float, float]:
    """Return the best fitness in each population over the epochs of an unbroken lineage."""
    summaries = summarize_generations(study)
    generations = Generations.recorded(study)
    assert generations is not None  # or there would be no summaries
    n_epochs = [0] * len(summaries)
    for trial in study.get_trials(deepcopy=False)[: generations.n_trials(len(summaries))]:
        generation = generations.of(trial.number)
        n_epochs[generation] = max(n_epochs[generation], len(trial.intermediate_values))
    if not any(n_epochs):
        raise ValueError(
            f"No trial of study {study.study_name!r} reported anything, so its epochs are not "
            "known: pass (epoch, value) pairs."
        )
    ends = accumulate(n_epochs)
    return {
        end: summary.best
        for end, summary in zip(ends, summaries, strict=True)
        if summary.best_trial is not None
    }
