"""The arithmetic of trial numbers, as the sampler has it and as the study records it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.study import Study

from epbt_optuna._internal.attrs import GENERATIONS
from epbt_optuna._internal.checks import check_boolean, check_integer, check_number
from epbt_optuna._internal.optuna import read_study_attrs

__all__ = ["Generations"]


@dataclass(frozen=True)
class Generations:
    """Which trial belongs to which generation, and by which fitness the fittest are found.

    Generation 0 has p trials. Where elites stand still, every later one has p − k, since they are
    not evaluated again; where they go on training, every generation has p.

    Attributes:
        population_size: Individuals in a population, p; only a replay (see
            `epbt_optuna.lineage.ReplaySampler`) has a population of one.
        n_elites: Individuals that survive a generation, k.
        train_elites: Whether elites are trained and evaluated again in every generation.
        fitness_smoothing: The parent's share of a smoothed fitness, β (`SmoothedFitness`).

    Raises:
        TypeError: A number is not one, or `train_elites` is neither True nor False.
        ValueError: `population_size` is not in [1, 10⁷], `n_elites` not in [0, p − 1], or
            `fitness_smoothing` not in [0, 1).
    """

    population_size: int
    n_elites: int
    train_elites: bool = False
    fitness_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_integer("population_size", self.population_size, at_least=1, at_most=10_000_000)
        check_integer("n_elites", self.n_elites, at_least=0, at_most=self.population_size - 1)
        check_boolean("train_elites", self.train_elites)
        check_number("fitness_smoothing", self.fitness_smoothing)
        if not 0 <= self.fitness_smoothing < 1:
            raise ValueError(
                f"`fitness_smoothing` must be in [0, 1) but got {self.fitness_smoothing}."
            )
        # NumPy's numbers would reach the records, which are JSON.
        object.__setattr__(self, "population_size", int(self.population_size))
        object.__setattr__(self, "n_elites", int(self.n_elites))
        object.__setattr__(self, "fitness_smoothing", float(self.fitness_smoothing))

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
            return None if record is None else cls._of_record(record)
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
        recorded = self.recorded(study, attrs)
        if recorded is None and not dry_run:
            GENERATIONS.write_to_study(study, self._as_record())
        elif recorded is not None and recorded != self:
            raise ValueError(
                f"Study {study.study_name!r} was begun with a population_size of "
                f"{recorded._in_words()}, and must go on with them, but the sampler has "
                f"{self._in_words()}."
            )

    def _in_words(self) -> str:
        return (
            f"{self.population_size} and {self.n_elites} elites, "
            f"train_elites={self.train_elites} and fitness_smoothing={self.fitness_smoothing:g}"
        )

    @classmethod
    def _of_record(cls, record: Mapping[str, Any]) -> Generations:
        return cls(**{name: value for name, value in record.items() if value is not None})

    def _as_record(self) -> dict[str, Any]:
        """Return what is recorded in the study.

        A release that knows nothing of the last two would take trials for those of another
        generation, so it must not read them. Where they are off, it may.
        """
        if self.train_elites or self.fitness_smoothing:
            return {**vars(self), "version": 2}
        return {"population_size": self.population_size, "n_elites": self.n_elites}

    @property
    def n_later(self) -> int:
        """How many trials every generation after generation 0 has."""
        return self.population_size - (0 if self.train_elites else self.n_elites)

    @property
    def n_standing(self) -> int:
        """How many of a population are members of the next one as they are."""
        return self.population_size - self.n_later

    def of(self, number: int) -> int:
        """Return the generation of the trial with this number."""
        return max(0, 1 + (number - self.population_size) // self.n_later)

    def numbers(self, generation: int) -> range:
        """Return the trial numbers of a generation, in order."""
        return range(self.n_trials(generation), self.n_trials(generation + 1))

    def n_trials(self, n_generations: int) -> int:
        """Return how many trials the first `n_generations` have, generation 0 included."""
        if n_generations == 0:
            return 0
        return self.population_size + (n_generations - 1) * self.n_later

    def is_slot(self, number: int) -> bool:
        """Return whether the trial with this number is there to continue an elite.

        If elites go on training, those are the first k of every generation but the first.
        """
        if not self.train_elites:
            return False
        generation = self.of(number)
        return generation > 0 and number - self.n_trials(generation) < self.n_elites
