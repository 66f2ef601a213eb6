"""Genomes: a trial's params with their distributions, and how one variable is drawn or moved.

Every distribution of Optuna is handled here and nowhere else, so the operators speak of
variables without asking whether they are logarithmic, on a grid or categorical.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

__all__ = [
    "Genome",
    "NumericalDistribution",
    "broken_rule",
    "clip",
    "contains",
    "draw",
    "is_plainly_inside",
    "is_same",
    "move",
    "neighbour",
    "own_value",
    "spread",
]

NumericalDistribution: TypeAlias = FloatDistribution | IntDistribution
"""A distribution of numbers, as opposed to categories."""


@dataclass(frozen=True)
class Genome:
    """A trial's params with their distributions.

    Attributes:
        params: The variables by name, as Python numbers or categories.
        distributions: The distribution of each variable; the same names as `params`.

    Raises:
        ValueError: The two mappings do not have the same names.
    """

    params: Mapping[str, Any]
    distributions: Mapping[str, BaseDistribution]

    def __post_init__(self) -> None:
        if self.params.keys() != self.distributions.keys():
            raise ValueError(
                "`params` and `distributions` must have the same names but differ in "
                f"{sorted(self.params.keys() ^ self.distributions.keys())}."
            )


def draw(distribution: BaseDistribution, rng: np.random.Generator) -> Any:
    """Draw a value uniformly: over the categories, the grid, the range, or its logarithm."""
    if isinstance(distribution, CategoricalDistribution):
        return _as_recorded(distribution.choices, int(rng.integers(len(distribution.choices))))
    if not isinstance(distribution, (FloatDistribution, IntDistribution)):  # faster than a union
        raise TypeError(f"`distribution` must be one of Optuna's but got {distribution!r}.")
    low, high, step = _range(distribution)
    if low == -math.inf or high == math.inf:
        raise ValueError(f"`distribution` must have a finite range but got {distribution}.")
    if distribution.log:
        # An integer k stands for [k − ½, k + ½], so that both ends get their whole share.
        margin = 0.5 if isinstance(distribution, IntDistribution) else 0.0
        share = rng.random()
        log_value = (1 - share) * math.log(low - margin) + share * math.log(high + margin)
        return clip(distribution, math.exp(log_value))
    share = rng.random()
    if step:  # not by drawing an integer: ranges may be wider than NumPy's
        return clip(distribution, low + step * int(share * (round((high - low) / step) + 1)))
    return clip(distribution, (1 - share) * low + share * high)


def clip(distribution: NumericalDistribution, value: float) -> float | int:
    """Return the value inside the distribution, and on its grid, that is nearest to `value`."""
    low, high, step = distribution.low, distribution.high, distribution.step
    value = low if value < low else high if value > high else value  # faster than `min` and `max`
    if not step:  # integers have one
        return float(value)
    value = min(low + step * round((value - low) / step), high)
    return float(value) if isinstance(distribution, FloatDistribution) else int(value)


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Return whether `value` is one that `distribution` can hold, also after a database had it.

    A database makes lists of tuples and rounds integers beyond 2^53. On a grid far from zero the
    same point, computed in two ways, differs in its last digits.
    """
    if is_plainly_inside(distribution, value):
        return True
    if isinstance(distribution, CategoricalDistribution):
        return _index(distribution.choices, value) is not None
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        return False
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return False
    low, high, step = _range(distribution)
    rounding = _rounding(distribution) if isinstance(distribution, IntDistribution) else 0
    if not low - rounding <= value <= high + rounding:
        return False
    if not step:
        return True
    off_grid = abs(value - clip(distribution, value))  # type: ignore[arg-type]
    return bool(off_grid < max(1e-8 * step, rounding or _rounding(distribution)))


def own_value(distribution: BaseDistribution, value: Any) -> Any:
    """Return what `distribution` itself has in place of `value`, which it contains.

    Its own category, an `int` on the grid of integers, a `float`.
    """
    if isinstance(distribution, CategoricalDistribution):
        index = _index(distribution.choices, value)
        return value if index is None else _as_recorded(distribution.choices, index)
    if isinstance(distribution, IntDistribution):
        return clip(distribution, value)
    return float(value)


def is_same(distribution: BaseDistribution, one: Any, other: Any) -> bool:
    """Return whether both are the same for Optuna: equal, or equal when a database had them."""
    if one == other:
        return True
    if not (contains(distribution, one) and contains(distribution, other)):
        return False
    one, other = own_value(distribution, one), own_value(distribution, other)
    return one is other or bool(one == other)  # NaN is NaN


def broken_rule(distribution: BaseDistribution, value: Any) -> str | None:
    """Return what `value` should be but is not, as operators return it; None if it is right.

    It is inside the distribution and of Python's own types: not NumPy's, whose integers JSON
    refuses. An `int` will do for a float.
    """
    if is_plainly_inside(distribution, value):
        return None
    if not contains(distribution, value):
        return f"inside {distribution}"
    if isinstance(distribution, FloatDistribution):
        is_plain = type(value) in (float, int)
    elif isinstance(distribution, IntDistribution):
        is_plain = type(value) is int
    else:  # NumPy's only where the category is
        is_plain = not isinstance(value, np.generic) or type(value) is type(
            own_value(distribution, value)
        )
    if is_plain:
        return None
    kind = type(value)
    return (
        f"a plain Python value: it is inside {distribution}, but of type "
        f"{kind.__module__}.{kind.__qualname__}"
    )


def move(
    distribution: NumericalDistribution, value: float, target: float, *, upward: bool
) -> float | int:
    """Move `value` to `target`, clipped; on a grid by at least one step, unless at its end.

    Args:
        distribution: The variable's distribution.
        value: Where the variable is.
        target: Where it shall go; may lie outside.
        upward: The direction of that one step where `target` equals `value`.
    """
    moved = clip(distribution, target)
    step = distribution.step
    if step and moved == clip(distribution, value):
        upward = target > value if target != value else upward
        moved = clip(distribution, value + step if upward else value - step)
    return moved


def neighbour(distribution: CategoricalDistribution, value: Any, direction: int) -> Any:
    """Return the category before `value` (direction −1) or after it (1), in the order of choices.

    At the end of the choices, where there is none, it is `value`, as integers stay in their range.
    Categories that Optuna records as one, such as 1 and True, are one here too.
    """
    choices = distribution.choices
    index = _index(choices, own_value(distribution, value))
    if index is None or direction == 0:
        return value
    others = range(index + direction, len(choices) if direction > 0 else -1, direction)
    return next((choices[i] for i in others if choices.index(choices[i]) == i), value)


def spread(distribution: NumericalDistribution) -> float:
    """Return the width of the range, in logarithms for a logarithmic distribution."""
    if distribution.log:
        return math.log(distribution.high) - math.log(distribution.low)
    return min(distribution.high - distribution.low, sys.float_info.max)


def is_plainly_inside(distribution: BaseDistribution, value: Any) -> bool:
    """Return True for what most genomes are made of, in a tenth of the time of the full answer."""
    return (
        type(value) is float
        and type(distribution) is FloatDistribution
        and distribution.step is None
        and distribution.low <= value <= distribution.high
    )


def _rounding(distribution: NumericalDistribution) -> float:
    """Return by how much numbers of this size may be off; 0 for integers that floats can hold."""
    size = max(abs(distribution.low), abs(distribution.high))
    if isinstance(distribution, IntDistribution) and size <= 2**53:
        return 0
    return 4 * math.ulp(size)


def _index(choices: Sequence[Any], value: Any) -> int | None:
    """Return which category `value` is: itself, or what JSON makes of one.

    `==` would take 1, True and 1.0 for the same, and a tuple and the list of it for different.
    """
    for index, choice in enumerate(choices):
        if choice is value or (type(choice) is type(value) and choice == value):
            return index
    as_json = _as_json(value)
    if as_json is None:
        return None
    return next((i for i, choice in enumerate(choices) if _as_json(choice) == as_json), None)


def _as_json(value: Any) -> str | None:
    try:
        return json.dumps(value)
    except (TypeError, ValueError):  # a category that only a storage in memory can hold
        return None


def _as_recorded(choices: Sequence[Any], index: int) -> Any:
    """Return the category that Optuna records for this one: the first that is equal, 1 for True.

    So an objective never sees another category than its children.
    """
    return choices[choices.index(choices[index])]


def _range(distribution: NumericalDistribution) -> tuple[float, float, float]:
    """Return low, high and step, with step 0 where values are continuous."""
    return distribution.low, distribution.high, distribution.step or 0
