"""Selection: who breeds (tournament, truncation) and who survives (elitism).

A population is a sequence ordered from the fittest to the least fit, so selection compares
positions and never needs to know what fitness is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from epbt_optuna._checks import check_integer, check_number

__all__ = [
    "Elitism",
    "Exploit",
    "ParentSelection",
    "SurvivorSelection",
    "TournamentSelection",
    "Truncation",
]

_T = TypeVar("_T")


class ParentSelection(Protocol):
    """Selects one parent from a population ordered from the fittest down (τ, stage 1)."""

    def __call__(self, population: Sequence[_T], rng: np.random.Generator) -> _T:
        """Return one individual of the non-empty `population`."""
        ...


class SurvivorSelection(Protocol):
    """Selects those who stay alive from a population ordered from the fittest down (stage 3)."""

    def __call__(self, population: Sequence[_T]) -> Sequence[_T]:
        """Return the survivors, in the same order."""
        ...


class Exploit(Protocol):
    """PBT's exploit: whose weights and genome a member goes on with."""

    def exploit(self, population: Sequence[_T], member: _T | None, rng: np.random.Generator) -> _T:
        """Return `member` itself or a fitter individual; `None` is a member that was lost."""
        ...


@dataclass(frozen=True)
class TournamentSelection:
    """The fittest of `size` individuals drawn at random, without replacement (τ, section 3.2).

    In a population smaller than `size` the tournament is the whole population.

    Attributes:
        size: Individuals in a tournament, t in the paper; 1 is a random choice. Default: the
            paper's 2.

    Raises:
        TypeError: `size` is not an integer.
        ValueError: `size` is below 1.
    """

    size: int = 2

    def __post_init__(self) -> None:
        check_integer("size", self.size, at_least=1)

    def __call__(self, population: Sequence[_T], rng: np.random.Generator) -> _T:
        """Return the winner of one tournament."""
        _require_somebody(population)
        size = min(self.size, len(population))
        entrants = rng.choice(len(population), size=size, replace=False, shuffle=False)
        return population[int(entrants.min())]


@dataclass(frozen=True)
class Truncation:
    """Choice among the fittest `fraction` of the population; PBT's exploit (Jaderberg 2017).

    As a parent selection it returns any of the fittest fraction. As PBT's exploit it lets a
    member go on as it is, unless it is in the least fit fraction or was lost: then one of the
    fittest takes its place. The fraction is rounded up to whole individuals but never covers
    more than half of the population, so nobody is in both.

    Attributes:
        fraction: Share of the population in (0, 0.5]. Default: a quarter, as in the paper's
            baselines.

    Raises:
        TypeError: `fraction` is not a number.
        ValueError: `fraction` is not in (0, 0.5].
    """

    fraction: float = 0.25

    def __post_init__(self) -> None:
        check_number("fraction", self.fraction)
        if not 0 < self.fraction <= 0.5:
            raise ValueError(f"`fraction` must be in (0, 0.5] but got {self.fraction}.")

    def __call__(self, population: Sequence[_T], rng: np.random.Generator) -> _T:
        """Return one of the fittest fraction."""
        _require_somebody(population)
        return population[int(rng.integers(max(1, self._share(population))))]

    def exploit(self, population: Sequence[_T], member: _T | None, rng: np.random.Generator) -> _T:
        """Return `member`, or one of the fittest if it is among the least fit or `None`."""
        n_safe = len(population) - self._share(population)
        if member is not None and population.index(member) < n_safe:
            return member
        return self(population, rng)

    def _share(self, population: Sequence[_T]) -> int:
        return min(math.ceil(self.fraction * len(population)), len(population) // 2)


@dataclass(frozen=True)
class Elitism:
    """The `size` fittest survive with weights, genome and fitness unchanged (stage 3).

    Attributes:
        size: Number of elites, k in the paper.

    Raises:
        TypeError: `size` is not an integer.
        ValueError: `size` is negative.
    """

    size: int

    def __post_init__(self) -> None:
        check_integer("size", self.size, at_least=0)

    def __call__(self, population: Sequence[_T]) -> Sequence[_T]:
        """Return the elites, fittest first."""
        return population[: self.size]


def _require_somebody(population: Sequence[_T]) -> None:
    if not population:
        raise ValueError("`population` must have at least one individual but got none.")
