"""Genomes: a trial's params with their distributions, and how one variable is drawn or moved.

Every distribution of Optuna is handled here and nowhere else, so the operators speak of
variables without asking whether they are logarithmic, on a grid or categorical.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

__all__ = ["Genome", "NumericalDistribution", "clip", "contains", "draw", "move", "spread"]

NumericalDistribution: TypeAlias = FloatDistribution | IntDistribution


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
        return distribution.choices[int(rng.integers(len(distribution.choices)))]
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        raise TypeError(f"`distribution` must be one of Optuna's but got {distribution!r}.")
    low, high, step = _range(distribution)
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
    low, high, step = _range(distribution)
    value = min(max(value, low), high)
    if step:
        value = min(low + step * round((value - low) / step), high)
    return int(value) if isinstance(distribution, IntDistribution) else float(value)


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Return whether `value` is one that `distribution` can hold."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        return False
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    low, high, step = _range(distribution)
    return low <= value <= high and (not step or _is_whole((value - low) / step))


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
    _, _, step = _range(distribution)
    if step and moved == clip(distribution, value):
        upward = target > value if target != value else upward
        moved = clip(distribution, value + step if upward else value - step)
    return moved


def spread(distribution: NumericalDistribution) -> float:
    """Return the width of the range, in logarithms for a logarithmic distribution."""
    if distribution.log:
        return math.log(distribution.high) - math.log(distribution.low)
    return min(distribution.high - distribution.low, sys.float_info.max)


def _is_whole(n_steps: float) -> bool:
    return abs(n_steps - round(n_steps)) < 1e-8  # what Optuna allows a grid


def _range(distribution: NumericalDistribution) -> tuple[float, float, float]:
    """Return low, high and step, with step 0 where values are continuous."""
    return distribution.low, distribution.high, distribution.step or 0
