"""The arithmetic of trial numbers, as the sampler has it and as the study records it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.study import Study

from epbt_optuna._internal.attrs import GENERATIONS
from epbt_optuna._internal.checks import check_integer
from epbt_optuna._internal.optuna import read_study_attrs

__all__ = ["Generations"]


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
