"""Populations: generation arithmetic, and who is alive after each generation.

A generation is arithmetic on Optuna's trial numbers, which every storage hands out atomically.
So any process anywhere knows which generation a trial belongs to, and whom it may breed from,
without a lock, a counter or a message to another worker.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.attrs import GENERATIONS, LINEAGE
from epbt_optuna._internal.checks import check_integer
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import constraints_of, read_study_attrs, read_trial

__all__ = [
    "Generations",
    "Individual",
    "Lineage",
    "Population",
    "PopulationHistory",
    "next_population",
]


@dataclass(frozen=True)
class Generations:
    """Which trial belongs to which generation (design: a generation is arithmetic).

    Generation 0 has p trials, every later one p − k: its elites are not evaluated again.

    Attributes:
        population_size: Individuals in a population, p; only a replay (see
            `epbt_optuna.lineage.ReplaySampler`) has a population of one.
        n_elites: Individuals that survive a generation, k.

    Raises:
        TypeError: A number is not an integer.
        ValueError: `population_size` is not in [1, 10⁷] or `n_elites` not in [0, p − 1].
    """

    population_size: int
    n_elites: int

    def __post_init__(self) -> None:
        check_integer("population_size", self.population_size, at_least=1, at_most=10_000_000)
        check_integer("n_elites", self.n_elites, at_least=0, at_most=self.population_size - 1)
        # NumPy's integers would reach the lineage records, which are JSON.
        object.__setattr__(self, "population_size", int(self.population_size))
        object.__setattr__(self, "n_elites", int(self.n_elites))

    @classmethod
    def recorded(
        cls, study: Study, study_attrs: Mapping[str, Any] | None = None
    ) -> Generations | None:
        """Return the arithmetic of a study that a sampler of ours has bred in, else None.

        `study_attrs` are the study's system attrs, if they have just been read.
        """
        attrs = read_study_attrs(study) if study_attrs is None else study_attrs
        record = GENERATIONS.of_study(study, attrs)
        try:
            return None if record is None else cls(**record)
        except ValueError as error:  # numbers, but no arithmetic
            raise GENERATIONS.unreadable(f"Study {study.study_name!r}", error) from None

    @classmethod
    def required(cls, study: Study) -> Generations:
        """Return the arithmetic of a study that a sampler of ours has bred in.

        Raises:
            ValueError: None has.
        """
        generations = cls.recorded(study)
        if generations is not None:
            return generations
        raise ValueError(
            f"Study {study.study_name!r} has no generations: neither EPBTSampler nor PBTSampler "
            "has asked a trial in it."
        )

    def record(
        self, study: Study, study_attrs: Mapping[str, Any] | None = None, *, dry_run: bool = False
    ) -> None:
        """Record the arithmetic in the study, so that it can be read without its sampler.

        Raises:
            ValueError: The study was begun with another one. A dry run finds out no more.
        """
        attrs = read_study_attrs(study) if study_attrs is None else study_attrs
        recorded = GENERATIONS.of_study(study, attrs)
        if recorded is None and not dry_run:
            GENERATIONS.write_to_study(study, dict(vars(self)))
        elif recorded not in (None, vars(self)):
            raise ValueError(
                f"Study {study.study_name!r} was begun with a population_size of "
                f"{recorded['population_size']} and {recorded['n_elites']} elites, and must go on "
                f"with them, but the sampler has {self.population_size} and {self.n_elites}."
            )

    def of(self, number: int) -> int:
        """Return the generation of the trial with this number."""
        return max(0, 1 + (number - self.population_size) // (self.population_size - self.n_elites))

    def numbers(self, generation: int) -> range:
        """Return the trial numbers of a generation, in order."""
        return range(self.n_trials(generation), self.n_trials(generation + 1))

    def n_trials(self, n_generations: int) -> int:
        """Return how many trials the first `n_generations` have, generation 0 included."""
        if n_generations == 0:
            return 0
        return self.population_size + (n_generations - 1) * (self.population_size - self.n_elites)


@dataclass(frozen=True, slots=True)
class Individual:
    """An evaluated individual: a COMPLETE trial as selection sees it.

    Attributes:
        number: The trial's number.
        fitness: The trial's value, negated where the study minimises: greater is fitter.
        violation: By how much its constraints are violated, summed; 0 is feasible.
    """

    number: int
    fitness: float
    violation: float = 0.0

    @classmethod
    def of(cls, trial: FrozenTrial, direction: StudyDirection) -> Individual:
        """Return the individual that a COMPLETE trial evaluated."""
        value = trial.values[0]
        fitness = value if direction == StudyDirection.MAXIMIZE else -value
        violation = sum(max(0.0, constraint) for constraint in constraints_of(trial))
        return cls(trial.number, fitness, violation)

    @property
    def rank_key(self) -> tuple[float, float, int]:
        """Sorts the least fit first: infeasible, then unfit; of equals the older trial first."""
        return -self.violation, self.fitness, self.number


Population: TypeAlias = tuple[Individual, ...]
"""The individuals alive after a generation, M_g, the fittest first."""


def next_population(
    evaluated: Iterable[Individual], previous: Population, n_elites: int
) -> Population:
    """Return who is alive after a generation, M_g, the fittest first (Algorithm 1, lines 3b, 3c).

    Args:
        evaluated: The COMPLETE trials of generation g.
        previous: M_(g−1), the fittest first; empty for generation 0.
        n_elites: How many of those survive with weights, genome and fitness unchanged, k.
    """
    everybody = (*evaluated, *previous[:n_elites])
    return tuple(sorted(everybody, key=lambda individual: individual.rank_key, reverse=True))


@dataclass(frozen=True)
class Lineage:
    """Where an individual comes from: the one record its trial carries, written at ask.

    Attributes:
        number: The trial's number.
        generation: The generation that this number makes it part of.
        parent: Number of the trial whose weights and genome are inherited; None for a founder.
        mate: Number of the other parent in crossover, if there was one.
    """

    number: int
    generation: int
    parent: int | None = None
    mate: int | None = None

    @classmethod
    def recorded(
        cls, number: int, system_attrs: Mapping[str, Any], identity: StudyIdentity | None = None
    ) -> Lineage | None:
        """Return the lineage in a trial's system attrs; None if no sampler of ours bred it here.

        Args:
            number: The trial's number.
            system_attrs: Its system attrs. Until it is asked, a retry has those of the trial that
                was cut off.
            identity: The study's. A record that was written in another study says nothing in this
                one. Default: the record is taken as it is.

        Raises:
            AttrError: The attr is no lineage, or names a parent or mate that came later.
        """
        record = LINEAGE.of_trial(number, system_attrs)
        if record is None:
            return None
        token, written_for = record.pop("token"), record.pop("number")
        if identity is not None and not identity.knows(token, written_for, number, system_attrs):
            return None
        lineage = cls(number, **record)
        for relative in lineage.parents:
            if not 0 <= relative < number:  # so every walk along parents ends
                problem = f"its parent or mate, trial {relative}, does not come before it"
                raise LINEAGE.unreadable(f"Trial {number}", problem)
        return lineage

    def record(self, token: str | None) -> dict[str, Any]:
        """Return what is recorded in the trial, under the study's token."""
        return {**vars(self), "token": token}

    @property
    def parents(self) -> tuple[int, ...]:
        """The numbers of parent and mate, as far as there are any."""
        return tuple(number for number in (self.parent, self.mate) if number is not None)


class PopulationHistory:
    """The populations M_0, M_1, … of one study, each as far as its trials have finished.

    A finished trial is read once; a generation whose trials have all finished, never again.
    """

    def __init__(self, generations: Generations) -> None:
        self._generations = generations
        self._evaluated: list[list[Individual]] = []
        self._pending: dict[int, list[int]] = {}
        self._populations: list[Population] = []
        self._has_warned = False
        self._lock = threading.Lock()

    def population(self, study: Study, generation: int) -> Population:
        """Return M_g, or what is known of it, the fittest first; empty before generation 0."""
        with self._lock:
            return self._population(study, generation)

    def newest(self, study: Study, *generations: int) -> list[Population]:
        """Return each M_g as far as it is known, else the newest before it with anybody."""
        with self._lock:
            self._population(study, max(generations))
            return [self._newest(generation) for generation in generations]

    def parents(self, study: Study, generation: int) -> Population:
        """Return those whom an offspring of this generation may have as parents.

        That is M_(g−1) as far as its trials have finished, else the newest population before it
        that has anybody, else nobody. The first time more of M_(g−1) runs than is there, it warns.
        """
        with self._lock:
            n_there = len(self._population(study, generation - 1))
            n_running = len(self._pending.get(generation - 1, ()))
            if n_there < n_running and not self._has_warned:
                self._has_warned = True
                warnings.warn(
                    f"Generation {generation} breeds from {n_there} individuals while "
                    f"{n_running} of generation {generation - 1} still run. Use fewer workers "
                    f"than a generation has trials ({len(self._generations.numbers(generation))})"
                    ", or wait for each generation to finish.",
                    stacklevel=2,
                )
            return self._newest(generation - 1)

    def _newest(self, generation: int) -> Population:
        newest_first = map(self._populations.__getitem__, range(generation, -1, -1))
        return next(filter(None, newest_first), ())

    def _population(self, study: Study, generation: int) -> Population:
        """Return M_g after reading what has finished since."""
        changed = [g for g in self._pending if g <= generation and self._read_finished(study, g)]
        del self._populations[min(changed, default=len(self._populations)) :]
        for g in range(len(self._populations), generation + 1):
            if g == len(self._evaluated):
                self._evaluated.append([])
                self._pending[g] = list(self._generations.numbers(g))
                self._read_finished(study, g)
            previous, n_elites = self._populations[-1] if g > 0 else (), self._generations.n_elites
            self._populations.append(next_population(self._evaluated[g], previous, n_elites))
        self._pending = {g: numbers for g, numbers in self._pending.items() if numbers}
        return self._populations[generation] if generation >= 0 else ()

    def _read_finished(self, study: Study, generation: int) -> bool:
        """Move what has finished of a generation out of pending; return whether any may breed."""
        running: list[int] = []
        complete: list[Individual] = []
        for number in self._pending[generation]:
            trial = read_trial(study, number)
            if trial is None or not trial.state.is_finished():
                running.append(number)
            elif trial.state == TrialState.COMPLETE:
                complete.append(Individual.of(trial, study.direction))
        self._pending[generation] = running
        self._evaluated[generation].extend(complete)
        return bool(complete)
