"""Selection: who breeds. Who survives is said by `epbt_optuna.population.next_population`.

A population is a sequence ordered from the fittest to the least fit, so selection compares
positions and never needs to know what fitness is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from epbt_optuna._internal.checks import check_integer, check_share

__all__ = ["Exploit", "ParentSelection", "SelectionOdds", "TournamentSelection", "Truncation"]

_T = TypeVar("_T")


class ParentSelection(Protocol):
    """Selects one parent from a population ordered from the fittest down (τ, stage 1)."""

    def __call__(self, population: Sequence[_T], rng: np.random.Generator) -> _T:
        """Return one individual of the non-empty `population`."""
        ...


@runtime_checkable
class SelectionOdds(Protocol):
    """A parent selection that knows its own odds, as `EPBTPruner` needs them."""

    def win_probabilities(self, population_size: int) -> Sequence[float]:
        """Return the probability that one selection takes each rank, the fittest first."""
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
        n, size = len(population), min(self.size, len(population))
        if size > 8 or n > 10_000:
            winner = rng.choice(n, size, replace=False, shuffle=False).min()
        else:
            # The same winner by the same random numbers, several times faster. NumPy's way is
            # Floyd's: where a number comes twice, `last` takes its place, which is never the least.
            winner = min(rng.integers(last + 1) for last in range(n - size, n))
        return population[int(winner)]

    def win_probabilities(self, population_size: int) -> list[float]:
        """Return the probability that one tournament selects each rank, the fittest first.

        Rank r of p wins if it is drawn and the other t − 1 come from the p − r less fit:
        C(p − r, t − 1) / C(p, t). For t = 2 that is 2(p − r) / (p(p − 1)).
        """
        size = min(self.size, population_size)
        n_tournaments = math.comb(population_size, size)
        return [
            math.comb(population_size - rank, size - 1) / n_tournaments
            for rank in range(1, population_size + 1)
        ]


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
        check_share("fraction", self.fraction)

    def __call__(self, population: Sequence[_T], rng: np.random.Generator) -> _T:
        """Return one of the fittest fraction."""
        _require_somebody(population)
        return population[int(rng.integers(max(1, self.n_replaced(len(population)))))]

    def exploit(self, population: Sequence[_T], member: _T | None, rng: np.random.Generator) -> _T:
        """Return `member`, or one of the fittest if it is among the least fit or `None`."""
        n_safe = len(population) - self.n_replaced(len(population))
        if member is not None and population.index(member) < n_safe:
            return member
        return self(population, rng)

    def n_replaced(self, population_size: int) -> int:
        """Return how many the fraction is: the least fit, replaced by as many of the fittest."""
        return min(math.ceil(self.fraction * population_size), population_size // 2)

    def win_probabilities(self, population_size: int) -> list[float]:
        """Return the probability that one selection takes each rank, the fittest first."""
        n_winners = max(1, self.n_replaced(population_size))
        return [1 / n_winners] * n_winners + [0.0] * (population_size - n_winners)


def _require_somebody(population: Sequence[_T]) -> None:
    if not population:
        raise ValueError("`population` must have at least one individual but got none.")
