"""Mutation: EPBT's Gaussian noise and PBT's explore, each variable on its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from epbt_optuna._internal.checks import check_names, check_number, check_probability
from epbt_optuna.genome import Genome, NumericalDistribution, draw, move, neighbour, spread

__all__ = ["GaussianMutation", "Mutation", "PerturbOrResample"]


class Mutation(Protocol):
    """Varies one genome (γ, stage 2; PBT's explore)."""

    def __call__(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Return a genome with the same variables; `genome` itself is left unchanged."""
        ...


@dataclass(frozen=True)
class GaussianMutation:
    """Multiplicative Gaussian noise on every variable, or a fresh draw (γ, section 3.2).

    A variable v becomes v·(1 + σ·N(0, 1)), clipped to its range. Logarithmic variables are
    multiplied by exp(σ·N(0, 1)) instead, the same noise whatever their unit. A variable on a
    grid (integers, floats with a step) moves by at least one step, except against the end of
    its range. With the reset probability a variable is drawn anew; categories change in no
    other way, unless they are `ordered`.

    The paper gives no values for σ and the reset probability; these defaults come from
    experiments on noisy digits.

    Attributes:
        sigma: Standard deviation of the noise, in shares of the value or of the range.
        reset_probability: Probability of a fresh uniform draw, for each variable on its own.
        scale: `"value"` multiplies, as in the paper. Multiplication cannot change a sign and
            leaves a variable at zero there until it is reset; `"range"` adds noise of σ times
            the variable's range instead.
        ordered: Names of categorical variables whose choices have an order, such as batch sizes:
            they move to one of the two neighbours, by the sign of the noise, as an integer would
            that moves by one step. A genome may lack one, as a conditional variable; a name that no
            trial has is an error when a sampler asks the first offspring.

    Raises:
        TypeError: `sigma` or `reset_probability` is not a number, or `ordered` no set of names.
        ValueError: `sigma` is negative or not finite, `reset_probability` is not in [0, 1], or
            `scale` is unknown. When used: a variable in `ordered` is not categorical.

    Example:
        ```python
        mutation = GaussianMutation(sigma=0.1, ordered={"batch_size"})
        ```
    """

    sigma: float = 0.2
    reset_probability: float = 0.2
    scale: Literal["value", "range"] = "value"
    ordered: Collection[str] = frozenset()

    def __post_init__(self) -> None:
        check_number("sigma", self.sigma, at_least=0)
        check_probability("reset_probability", self.reset_probability)
        if self.scale not in ("value", "range"):
            raise ValueError(f"`scale` must be 'value' or 'range' but got {self.scale!r}.")
        object.__setattr__(self, "ordered", check_names("ordered", self.ordered))

    def __call__(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Return the mutated genome."""
        change, step = self._noisy, self._direction
        return _mutate_each(genome, self.reset_probability, change, self.ordered, step, rng)

    def _noisy(
        self, distribution: NumericalDistribution, value: float, rng: np.random.Generator
    ) -> float:
        noise = self.sigma * rng.standard_normal()
        if noise == 0:
            return _unmoved(distribution, value)
        if self.scale == "range":
            noise *= spread(distribution)
            target = _scaled(value, noise) if distribution.log else value + noise
        else:
            target = _scaled(value, noise) if distribution.log else value * (1 + noise)
        return move(distribution, value, target, upward=noise > 0)

    def _direction(self, rng: np.random.Generator) -> int:
        return int(np.sign(self.sigma * rng.standard_normal()))


@dataclass(frozen=True)
class PerturbOrResample:
    """PBT's explore: every variable times or divided by `factor`, or drawn anew.

    Division is the opposite of multiplication, so that a variable has no drift; the original
    (Jaderberg et al. 2017) multiplies by 1.2 or 0.8. Variables on a grid move by at least one
    step, except against the end of their range; categories change by a fresh draw only, unless
    they are `ordered`.

    Attributes:
        factor: Size of the perturbation, at least 1. Default: the paper's 1.2.
        resample_probability: Probability of a fresh uniform draw, for each variable on its own.
        ordered: Names of categorical variables that move to one of the two neighbours in the order
            of their choices, as in `GaussianMutation`; with a `factor` of 1 they stay.

    Raises:
        TypeError: A number is of the wrong type, or `ordered` is no set of names.
        ValueError: `factor` is below 1 or not finite, or `resample_probability` is not in [0, 1].
            When used: a variable in `ordered` is not categorical.
    """

    factor: float = 1.2
    resample_probability: float = 0.2
    ordered: Collection[str] = frozenset()

    def __post_init__(self) -> None:
        check_number("factor", self.factor, at_least=1)
        check_probability("resample_probability", self.resample_probability)
        object.__setattr__(self, "ordered", check_names("ordered", self.ordered))

    def __call__(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Return the explored genome."""
        change, step = self._perturbed, self._direction
        return _mutate_each(genome, self.resample_probability, change, self.ordered, step, rng)

    def _perturbed(
        self, distribution: NumericalDistribution, value: float, rng: np.random.Generator
    ) -> float:
        upward = rng.random() < 0.5
        if self.factor == 1:
            return _unmoved(distribution, value)
        target = value * self.factor if upward else value / self.factor
        return move(distribution, value, target, upward=upward)

    def _direction(self, rng: np.random.Generator) -> int:
        upward = rng.random() < 0.5
        return 0 if self.factor == 1 else 1 if upward else -1


def _mutate_each(
    genome: Genome,
    reset_probability: float,
    change: Callable[[NumericalDistribution, float, np.random.Generator], float],
    ordered: Collection[str],
    direction: Callable[[np.random.Generator], int],
    rng: np.random.Generator,
) -> Genome:
    """Reset or change every variable; by name, since storages return params in any order."""
    for name in sorted(genome.params.keys() & ordered) if ordered else ():
        distribution = genome.distributions[name]
        if not isinstance(distribution, CategoricalDistribution):
            raise ValueError(
                f"`ordered` must name categorical variables but has {name!r}, which is in "
                f"{distribution}: numbers move along their range anyway."
            )
    params: dict[str, Any] = {}
    random, own, distributions = rng.random, genome.params, genome.distributions
    for name in sorted(own):
        value, distribution = own[name], distributions[name]
        if random() < reset_probability:
            params[name] = draw(distribution, rng)
        elif isinstance(distribution, (FloatDistribution, IntDistribution)):  # faster than a union
            params[name] = change(distribution, value, rng)
        elif name in ordered and isinstance(distribution, CategoricalDistribution):
            params[name] = neighbour(distribution, value, direction(rng))
        else:
            params[name] = value
    return Genome(params, genome.distributions)


def _unmoved(distribution: NumericalDistribution, value: float) -> float:
    """Return the value wherever it lies; a float, where a user has added an `int` for one."""
    return float(value) if isinstance(distribution, FloatDistribution) else value


def _scaled(value: float, exponent: float) -> float:
    """Return the value times e to the exponent, of which a range may have up to 1,454."""
    if abs(exponent) <= 700:
        return value * math.exp(exponent)
    half = math.exp(min(exponent / 2, 700))  # twice, for want of room; the result is clipped
    return value * half * half
