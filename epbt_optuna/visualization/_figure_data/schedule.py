"""What `plot_schedule` shows: each hyperparameter along one ancestry."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from optuna import Study
from optuna.distributions import CategoricalDistribution

from epbt_optuna.genome import NumericalDistribution
from epbt_optuna.lineage import Schedule
from epbt_optuna.lineage.times import training_times
from epbt_optuna.visualization._style import short

__all__ = [
    "ScheduleCurve",
    "ScheduleInfo",
    "ScheduleSource",
    "schedule_info",
    "schedule_of",
]

ScheduleSource: TypeAlias = Study | Schedule

_MAX_CATEGORY_LENGTH = 12  # characters that fit between two panels


class ScheduleCurve(NamedTuple):
    """One hyperparameter, constant from each of the schedule's times to the next.

    Attributes:
        name: Its name.
        values: Its value from each time on, the last one again at the end; the index of a
            category; None where a step has no such parameter.
        is_log: Whether its scale is logarithmic.
        categories: Its categories as short texts; None for numbers.
        limits: From where to where the axis goes: the whole range, with a margin.
    """

    name: str
    values: list[float | None]
    is_log: bool
    categories: list[str] | None
    limits: tuple[float, float]


class ScheduleInfo(NamedTuple):
    """Everything that `plot_schedule` draws.

    Attributes:
        study_name: The study's name.
        times: When each step begins, and when the last one ends.
        time_name: What the times are.
        curves: One for each hyperparameter.
    """

    study_name: str
    times: list[float]
    time_name: str
    curves: list[ScheduleCurve]

    def line(self, curve: ScheduleCurve) -> list[tuple[float | None, float | None]]:
        """Return the corners of a curve, two for each step; a step without it breaks the line.

        Said in full, since backends draw steps next to a gap each in its own way.
        """
        corners: list[tuple[float | None, float | None]] = []
        for begin, end, value in zip(self.times, self.times[1:], curve.values, strict=False):
            corners += [(None, None)] * 2 if value is None else [(begin, value), (end, value)]
        return corners

    @property
    def title(self) -> str:
        """The picture's title."""
        n_trials = len(self.times) - 1
        trials = f"{n_trials} trial{'s' if n_trials > 1 else ''}"
        return f"Schedule of {short(self.study_name)}: {trials} along the ancestry"

    @property
    def time_limits(self) -> tuple[float, float]:
        """From where to where the axis goes, in every panel, also where a curve has gaps."""
        begin, end = self.times[0], self.times[-1]
        margin = 0.05 * (end - begin)
        return begin - margin, end + margin


def schedule_info(source: ScheduleSource, params: Sequence[str] | None) -> ScheduleInfo:
    """Read the hyperparameters along an ancestry; see `plot_schedule` for the arguments.

    Raises:
        TypeError: `source` is neither a study nor a schedule.
        ValueError: There is no ancestry, or no such parameter.
    """
    schedule = schedule_of(source)
    names = sorted(schedule.distributions) if params is None else list(params)
    if not names:
        raise ValueError(f"The schedule of study {schedule.study_name!r} has no parameters.")
    if unknown := [name for name in names if name not in schedule.distributions]:
        raise ValueError(
            f"`params` must be among {sorted(schedule.distributions)} but got {unknown[0]!r}."
        )
    bounds, time_name = training_times(schedule)
    curves = [_curve(schedule, name) for name in names]
    return ScheduleInfo(schedule.study_name, bounds, time_name, curves)


def schedule_of(source: ScheduleSource) -> Schedule:
    """Return the schedule of a study's best trial, or the schedule itself."""
    if isinstance(source, Study):
        return Schedule.from_study(source)
    if not isinstance(source, Schedule):
        raise TypeError(f"`source` must be a study or a Schedule but got {source!r}.")
    return source


def _curve(schedule: Schedule, name: str) -> ScheduleCurve:
    distribution = schedule.distributions[name]
    if isinstance(distribution, CategoricalDistribution):
        categories = [short(choice, _MAX_CATEGORY_LENGTH) for choice in distribution.choices]
        index = distribution.to_internal_repr
        values = [_value(step.params, name, index) for step in schedule.steps]
        limits = (-0.5, len(categories) - 0.5)
        return ScheduleCurve(name, [*values, values[-1]], False, categories, limits)
    assert isinstance(distribution, NumericalDistribution)
    values = [_value(step.params, name, float) for step in schedule.steps]
    limits = _limits(distribution, [value for value in values if value is not None])
    return ScheduleCurve(name, [*values, values[-1]], distribution.log, None, limits)


def _value(params: Any, name: str, convert: Any) -> float | None:
    return float(convert(params[name])) if name in params else None


def _limits(distribution: NumericalDistribution, values: list[float]) -> tuple[float, float]:
    """Return the range, or more where a value is outside of it, and 5 % on both sides."""
    is_log = distribution.log
    low = min([distribution.low, *values])
    high = max([distribution.high, *values])
    if is_log:
        # By logarithms, and inside of what a float can hold, as the range may be all of that.
        factor = math.exp(0.05 * (math.log(high) - math.log(low))) if high > low else 2.0
        return max(low / factor, math.ulp(0.0)), min(high * factor, sys.float_info.max)
    margin = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
    return low - margin, high + margin
