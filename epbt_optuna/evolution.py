"""Evolution: who breeds an offspring, and how, in the words of the papers.

`EPBT` is Algorithm 1 of the EPBT paper (stages 1 and 2; stage 3, evaluation with elitism, is
the study and `epbt_optuna.population`). `PBT` is the exploit and explore of Jaderberg et al.
(2017), the baseline. The two differ here and nowhere else.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from epbt_optuna._internal.checks import check_callable
from epbt_optuna.genome import Genome
from epbt_optuna.operators import (
    Crossover,
    Exploit,
    GaussianMutation,
    Mutation,
    ParentSelection,
    PerturbOrResample,
    SelectionOdds,
    TournamentSelection,
    Truncation,
)
from epbt_optuna.operators.checked import crossed, exploited, mutated, selected
from epbt_optuna.population import Lineage, Population

__all__ = ["EPBT", "PBT", "Evolution", "Feasible", "first_feasible"]

Feasible: TypeAlias = Callable[[Mapping[str, Any]], bool]
"""Says of an offspring's params whether it may be trained, as `is_trainable` does."""

_MAX_ATTEMPTS = 100


class Evolution(Protocol):
    """How the next offspring comes about; an offspring is known by its trial number."""

    def select(
        self, number: int, generation: int, population: Population, rng: np.random.Generator
    ) -> Lineage:
        """Choose from whom of the non-empty `population` the offspring inherits."""
        ...

    def breed(
        self, lineage: Lineage, parent: Genome, mate: Genome | None, rng: np.random.Generator
    ) -> Genome:
        """Make the offspring's genome."""
        ...

    def varies(self, lineage: Lineage) -> bool:
        """Return whether breeding this offspring again may give another genome."""
        ...

    @property
    def named_variables(self) -> Mapping[str, Collection[str]]:
        """The variables that settings of its operators name, by the setting."""
        ...

    def expected_offspring(self, population_size: int, n_offspring: int) -> list[float]:
        """Return how many of `n_offspring` each rank can expect to be parent of, fittest first.

        Raises:
            TypeError: A selection of the user's own does not say its odds.
        """
        ...


@dataclass(frozen=True)
class EPBT:
    """Algorithm 1, stages 1 and 2, for one offspring at a time.

    Attributes:
        population_size: Individuals in a population, p.
        selection: τ, who becomes parent and mate.
        mutation: γ, applied to both genomes.
        crossover: ξ, applied after mutation.

    Raises:
        TypeError: An operator cannot be called as its protocol says.
        ValueError: A tournament is larger than the population.
    """

    population_size: int
    selection: ParentSelection
    mutation: Mutation
    crossover: Crossover

    def __post_init__(self) -> None:
        check_callable("selection", self.selection, "population", "rng")
        check_callable("mutation", self.mutation, "genome", "rng")
        check_callable("crossover", self.crossover, "parent", "mate", "rng")
        if (
            isinstance(self.selection, TournamentSelection)
            and self.selection.size > self.population_size
        ):
            raise ValueError(
                f"`selection.size` must be at most `population_size` ({self.population_size}) "
                f"but got {self.selection.size}."
            )

    def select(
        self, number: int, generation: int, population: Population, rng: np.random.Generator
    ) -> Lineage:
        """Select the parent with τ, and with τ its mate from the others."""
        rank = selected(self.selection, population, rng)  # line 1
        parent, others = population[rank], population[:rank] + population[rank + 1 :]
        mate = others[selected(self.selection, others, rng)] if others else None
        return Lineage(number, generation, parent.number, mate.number if mate else None)

    def breed(
        self, lineage: Lineage, parent: Genome, mate: Genome | None, rng: np.random.Generator
    ) -> Genome:
        """Return ĥ = ξ(γ(h)) (line 2a); line 2b, the parent's weights, is the checkpoint store.

        An elite that goes on training has the genome that it had.
        """
        if lineage.elite:
            return parent
        offspring = mutated(self.mutation, parent, rng)
        if mate is None:
            return offspring
        return crossed(self.crossover, offspring, mutated(self.mutation, mate, rng), rng)

    def varies(self, lineage: Lineage) -> bool:
        """Return whether the parent's genome is mutated, which it is unless an elite goes on."""
        return not lineage.elite

    @property
    def named_variables(self) -> Mapping[str, Collection[str]]:
        """The ordered categories of the library's own mutations."""
        return _ordered("mutation", self.mutation)

    def expected_offspring(self, population_size: int, n_offspring: int) -> list[float]:
        """Return the odds of τ times the number of offspring: each has a tournament of its own."""
        if not isinstance(self.selection, SelectionOdds):
            raise TypeError(
                "`selection` must have a method `win_probabilities(population_size)` to say who "
                f"can expect offspring, but {self.selection!r} has none."
            )
        win_probabilities = self.selection.win_probabilities(population_size)
        return [n_offspring * probability for probability in win_probabilities]


@dataclass(frozen=True)
class PBT:
    """Exploit and explore for one member at a time; trial n is member n mod p.

    Attributes:
        population_size: Members of the population, p; each has one trial in every generation.
        exploit: Whose weights and genome a member goes on with.
        explore: Varies the genome of a member that took another's.

    Raises:
        TypeError: `explore` cannot be called as its protocol says.
    """

    population_size: int
    exploit: Exploit
    explore: Mutation

    def __post_init__(self) -> None:
        check_callable("explore", self.explore, "genome", "rng")

    def select(
        self, number: int, generation: int, population: Population, rng: np.random.Generator
    ) -> Lineage:
        """Go on with the member itself unless it is among the least fit, or was lost."""
        member = next((i for i in population if self._is_same_member(i.number, number)), None)
        source = exploited(self.exploit, population, member, rng)
        return Lineage(number, generation, source.number)

    def breed(
        self,
        lineage: Lineage,
        parent: Genome,
        mate: Genome | None,  # noqa: ARG002, PBT has no crossover
        rng: np.random.Generator,
    ) -> Genome:
        """Return the member's own genome, or the explored genome of the one it exploited."""
        return mutated(self.explore, parent, rng) if self.varies(lineage) else parent

    def varies(self, lineage: Lineage) -> bool:
        """Return whether the member took another's genome, which then is explored."""
        return lineage.parent is None or not self._is_same_member(lineage.parent, lineage.number)

    @property
    def named_variables(self) -> Mapping[str, Collection[str]]:
        """The ordered categories of the library's own mutations."""
        return _ordered("explore", self.explore)

    def expected_offspring(self, population_size: int, n_offspring: int) -> list[float]:
        """Return 1 for every member that goes on, and the others shared among the fittest."""
        if not isinstance(self.exploit, Truncation):
            raise TypeError(
                "`exploit` must be a Truncation to say who can expect offspring, but is "
                f"{self.exploit!r}."
            )
        n_going_on = population_size - self.exploit.n_replaced(population_size)
        n_replaced = n_offspring - n_going_on
        win_probabilities = self.exploit.win_probabilities(population_size)
        return [
            (rank <= n_going_on) + n_replaced * probability
            for rank, probability in enumerate(win_probabilities, start=1)
        ]

    def _is_same_member(self, number: int, other: int) -> bool:
        return number % self.population_size == other % self.population_size


def _ordered(setting: str, mutation: Mutation) -> Mapping[str, Collection[str]]:
    if isinstance(mutation, GaussianMutation | PerturbOrResample):
        return {f"{setting}.ordered": mutation.ordered}
    return {}


def first_feasible(
    breed: Callable[[], Genome], feasible: Feasible | None, fixed_params: Mapping[str, Any]
) -> Genome:
    """Breed until the params are feasible, with the fixed ones in their place.

    After 100 attempts the last genome is returned with a warning: a run must not hang because
    nothing, or next to nothing, is feasible.
    """
    genome = breed()
    if feasible is None:
        return genome
    for _ in range(_MAX_ATTEMPTS - 1):
        if feasible({**genome.params, **fixed_params}):
            return genome
        genome = breed()
    if not feasible({**genome.params, **fixed_params}):
        warnings.warn(
            f"None of {_MAX_ATTEMPTS} bred genomes was `feasible`; the last one is used.",
            stacklevel=2,
        )
    return genome
