"""Individuals as selection sees them, and who of them is alive after a generation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from epbt_optuna._internal.optuna import constraints_of

__all__ = ["Individual", "Population", "next_population", "raw_fitness"]


@dataclass(frozen=True, slots=True)
class Individual:
    """An evaluated individual: a COMPLETE trial as selection sees it.

    Attributes:
        number: The trial's number.
        fitness: What selection goes by: the trial's value, negated where the study minimises, and
            smoothed where the sampler does so. Greater is fitter.
        violation: By how much its constraints are violated, summed; 0 is feasible.
    """

    number: int
    fitness: float
    violation: float = 0.0

    @classmethod
    def of(cls, trial: FrozenTrial, direction: StudyDirection) -> Individual:
        """Return the individual that a COMPLETE trial evaluated, with the fitness as it is."""
        violation = sum(max(0.0, constraint) for constraint in constraints_of(trial))
        return cls(trial.number, raw_fitness(trial.values[0], direction), violation)

    @property
    def rank_key(self) -> tuple[float, float, int]:
        """Sorts the least fit first: infeasible, then unfit; of equals the older trial first."""
        return -self.violation, self.fitness, self.number

    @property
    def best_key(self) -> tuple[float, float, int]:
        """Sorts likewise, but of equals the newer first: the best is then Optuna's best trial."""
        return -self.violation, self.fitness, -self.number


def raw_fitness(value: float, direction: StudyDirection) -> float:
    """Return a value as a fitness, greater is fitter: negated where the study minimises."""
    return value if direction == StudyDirection.MAXIMIZE else -value


Population: TypeAlias = tuple[Individual, ...]
"""The individuals alive after a generation, M_g, the fittest first."""


def next_population(
    evaluated: Iterable[Individual], previous: Population, n_elites: int
) -> Population:
    """Return who is alive after a generation, M_g, the fittest first (Algorithm 1, lines 3b, 3c).

    Args:
        evaluated: The COMPLETE trials of generation g.
        previous: M_(g−1), the fittest first; empty for generation 0.
        n_elites: How many of those survive with weights, genome and fitness unchanged: k, or
            nobody where elites go on training, as what they become is evaluated.
    """
    everybody = (*evaluated, *previous[:n_elites])
    return tuple(sorted(everybody, key=lambda individual: individual.rank_key, reverse=True))
