"""Crossover between two values: the numbers of an offspring lie around those of both parents."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from optuna.distributions import FloatDistribution, IntDistribution

from epbt_optuna._internal.checks import check_number, check_probability
from epbt_optuna.genome import Genome, NumericalDistribution, clip, contains

__all__ = ["SimulatedBinaryCrossover"]


@dataclass(frozen=True)
class SimulatedBinaryCrossover:
    """Blends numbers as one-point crossover of binary strings would (Deb & Agrawal 1995).

    A number c becomes ½·((1 + β)·c + (1 − β)·m), m being the mate's, or, as often, the mirror
    image of that between the two. The spread factor β has density ½·(η + 1)·β^η up to 1 and
    ½·(η + 1)/β^(η + 2) beyond, so that children lie between the parents or outside with equal
    odds, and near a parent the nearer the greater η is. Logarithmic variables are blended in
    their logarithms, integers and steps rounded to the grid, and all is clipped to the range.
    Categories come from either with equal odds. A variable that the mate does not have, or
    whose value there lies outside the parent's distribution, stays the parent's.

    Attributes:
        eta: Distribution index η, at least 0: how near to the parents children are. Default: 2,
            as of Optuna's crossover of this name.
        probability: Probability that a variable is blended, for each on its own.

    Raises:
        TypeError: A number is of the wrong type.
        ValueError: `eta` is negative or not finite, or `probability` is not in [0, 1].

    Example:
        ```python
        sampler = EPBTSampler(crossover=SimulatedBinaryCrossover(eta=5))
        ```
    """

    eta: float = 2.0
    probability: float = 0.5

    def __post_init__(self) -> None:
        check_number("eta", self.eta, at_least=0)
        check_probability("probability", self.probability)

    def __call__(self, parent: Genome, mate: Genome, rng: np.random.Generator) -> Genome:
        """Return the offspring's genome."""
        params = dict(parent.params)
        for name in sorted(params):
            distribution = parent.distributions[name]
            chance, u, is_mirrored = rng.random(), rng.random(), rng.random() < 0.5
            if chance >= self.probability or name not in mate.params:
                continue
            own, other = params[name], mate.params[name]
            if not (contains(distribution, own) and contains(distribution, other)):
                continue
            if isinstance(distribution, FloatDistribution | IntDistribution):
                first, second = (other, own) if is_mirrored else (own, other)
                params[name] = _child(distribution, first, second, self._spread_factor(u))
            elif is_mirrored:
                params[name] = other
        return Genome(params, parent.distributions)

    def _spread_factor(self, u: float) -> float:
        """Return β for u from U[0, 1), by the inverse of its distribution (their equation 8)."""
        base = 2 * u if u <= 0.5 else 1 / (2 - 2 * u)
        return float(base ** (1 / (self.eta + 1)))


def _child(
    distribution: NumericalDistribution, first: float, second: float, beta: float
) -> float | int:
    """Return ½·((1 + β)·first + (1 − β)·second), in logarithms where the distribution is."""
    if first == second:
        return first
    if distribution.log:
        return clip(
            distribution, math.exp(min(_blend(math.log(first), math.log(second), beta), 700))
        )
    return clip(distribution, _blend(first, second, beta))


def _blend(first: float, second: float, beta: float) -> float:
    middle, half = first / 2 + second / 2, first / 2 - second / 2  # no overflow on the way
    return middle + beta * half
