"""Crossover: which of an offspring's variables come from the mate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from epbt_optuna._internal.checks import check_probability
from epbt_optuna.genome import Genome, contains

__all__ = ["Crossover", "UniformCrossover"]


class Crossover(Protocol):
    """Combines two genomes (ξ, stage 2)."""

    def __call__(self, parent: Genome, mate: Genome, rng: np.random.Generator) -> Genome:
        """Return a genome with the variables of `parent`; neither argument is changed."""
        ...


@dataclass(frozen=True)
class UniformCrossover:
    """Every variable comes from the mate with the same probability (ξ, section 3.2).

    A variable that the mate does not have, or whose value there lies outside the parent's
    distribution (spaces may depend on other params), stays the parent's.

    Attributes:
        probability: Probability that a variable comes from the mate. Default: the paper's 0.5.

    Raises:
        TypeError: `probability` is not a number.
        ValueError: `probability` is not in [0, 1].
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        check_probability("probability", self.probability)

    def __call__(self, parent: Genome, mate: Genome, rng: np.random.Generator) -> Genome:
        """Return the offspring's genome."""
        params = dict(parent.params)
        # As many draws as one after the other would be, and the same ones, in a third of the time.
        for name, draw in zip(sorted(params), rng.random(len(params)).tolist(), strict=True):
            if (
                draw < self.probability
                and name in mate.params
                and contains(parent.distributions[name], mate.params[name])
            ):
                params[name] = mate.params[name]
        return Genome(params, parent.distributions)
