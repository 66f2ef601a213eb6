"""A study's history: all its trials read once, who was alive when, who descends from whom."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from optuna import Study
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.attrs import LINEAGE, MIXED
from epbt_optuna._internal.checks import check_integer, check_of_study
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna.checkpoints.mixed import Mixed
from epbt_optuna.checkpoints.records import CheckpointError, CheckpointRecord
from epbt_optuna.checkpoints.reports import Report, reports_of
from epbt_optuna.population import (
    Generations,
    Lineage,
    Population,
    SmoothedFitness,
    next_population,
)

__all__ = ["History"]


@dataclass(frozen=True)
class History:
    """One study as it was when it was read; nothing here goes back to the storage.

    Attributes:
        study_name: The study's name.
        direction: Its direction.
        generations: Its generation arithmetic.
        identity: Says which records are its own.
        trials: Its trials; the position is the number.
        best: The best trial as Optuna has it: COMPLETE, feasible. None if there is none.
    """

    study_name: str
    direction: StudyDirection
    generations: Generations
    identity: StudyIdentity
    trials: tuple[FrozenTrial, ...]
    best: FrozenTrial | None

    @classmethod
    def of(cls, study: Study) -> History:
        """Read a study.

        Raises:
            ValueError: The study is empty, or no sampler of ours has asked a trial in it.
        """
        best = _best_number(study)  # before the trials, so that it is one of them
        trials = tuple(study.get_trials(deepcopy=False))
        if not trials:
            raise ValueError(f"Study {study.study_name!r} is empty: it has no trials yet.")
        generations = Generations.required(study)
        return cls(
            study_name=study.study_name,
            direction=study.direction,
            generations=generations,
            identity=StudyIdentity.of(study),
            trials=trials,
            best=None if best is None else trials[best],
        )

    @property
    def n_generations(self) -> int:
        """Generations that have begun, generation 0 included."""
        return self.generations.of(len(self.trials) - 1) + 1

    def of_generation(self, generation: int) -> tuple[FrozenTrial, ...]:
        """Return the trials of a generation, as far as there are any yet."""
        numbers = self.generations.numbers(generation)
        return self.trials[numbers.start : numbers.stop]

    @cached_property
    def populations(self) -> tuple[Population, ...]:
        """M_0, M_1, … of the trials read, the fittest first."""
        fitness = SmoothedFitness(
            self.generations.fitness_smoothing,
            self.direction,
            self.identity,
            self.trials.__getitem__,
        )
        alive: Population = ()
        populations = []
        for generation in range(self.n_generations):
            evaluated = (
                fitness.individual(trial)
                for trial in self.of_generation(generation)
                if trial.state == TrialState.COMPLETE
            )
            alive = next_population(evaluated, alive, self.generations.n_standing)
            populations.append(alive)
        return tuple(populations)

    @cached_property
    def survives_until(self) -> dict[int, int]:
        """The last generation after which each COMPLETE trial is alive, by its number."""
        return {
            individual.number: generation
            for generation, population in enumerate(self.populations)
            for individual in population
        }

    def lineage(self, trial: FrozenTrial) -> Lineage | None:
        """Return where a trial comes from, as it was recorded; None if we did not breed it.

        Parents and mates are of an earlier generation, so walks along them end, and who draws
        generation by generation has them all.

        Raises:
            ValueError: The record cannot be read, or its parent is of no earlier generation.
        """
        lineage = Lineage.recorded(trial.number, trial.system_attrs, self.identity)
        own = self.generations.of(trial.number)
        for relative in () if lineage is None else lineage.parents:
            if self.generations.of(relative) >= own:
                raise LINEAGE.unreadable(
                    f"Trial {trial.number}",
                    f"its parent or mate, trial {relative}, is of no generation before its own, "
                    f"{own}",
                )
        return lineage

    def mate_weight(self, trial: FrozenTrial) -> float:
        """Return the mate's share in the weights that a trial started from.

        Raises:
            ValueError: The record cannot be read, or is of another trial than the mate.
        """
        mixed = Mixed.recorded(trial.number, trial.system_attrs, self.identity)
        if mixed is None:
            return 0.0
        lineage = self.lineage(trial)
        if lineage is None or lineage.mate != mixed.mate:
            problem = f"trial {mixed.mate} is not its mate"
            raise MIXED.unreadable(f"Trial {trial.number}", problem)
        return mixed.weight

    def reports(self, trial: FrozenTrial) -> list[Report]:
        """Return what was reported of a trial's network, before it was retried too.

        Raises:
            ValueError: A record of an earlier run cannot be read.
        """
        return reports_of(trial, self.identity, self.trials.__getitem__)

    def trial(self, trial: FrozenTrial | int | None) -> FrozenTrial:
        """Return one of the trials: the best by default.

        Raises:
            TypeError: `trial` is neither a trial nor a number.
            ValueError: There is no such trial, or no best one; or it is of another study.
        """
        if trial is None:
            return self._require_best()
        number = trial.number if isinstance(trial, FrozenTrial) else trial
        check_integer("trial", number, at_least=0)
        if number >= len(self.trials):
            raise ValueError(
                f"`trial` must be one of study {self.study_name!r}, whose last is trial "
                f"{len(self.trials) - 1}, but got {number}."
            )
        if isinstance(trial, FrozenTrial):
            check_of_study(self.study_name, trial, self.trials[number])
        return self.trials[number]

    def ancestry(self, trial: FrozenTrial) -> tuple[FrozenTrial, ...]:
        """Return the chain of weights that ends in `trial`, from the one that began afresh.

        Raises:
            ValueError: The trial has no weights: we did not breed it, and it saved no checkpoint.
        """
        if not self._has_weights(trial):
            raise ValueError(
                f"Trial {trial.number} ({trial.state.name}) of study {self.study_name!r} has no "
                "weights to trace: no sampler of epbt_optuna bred it, and it saved no checkpoint."
            )
        chain = [trial]
        while (parent := self._parent(chain[-1])) is not None and self._has_weights(parent):
            chain.append(parent)
        return tuple(reversed(chain))

    @cached_property
    def best_ancestry(self) -> frozenset[int]:
        """The numbers of the best trial and its ancestors; empty where there is no best."""
        if self.best is None:
            return frozenset()
        if not self._has_weights(self.best):
            return frozenset([self.best.number])
        return frozenset(trial.number for trial in self.ancestry(self.best))

    def _parent(self, trial: FrozenTrial) -> FrozenTrial | None:
        lineage = self.lineage(trial)
        return None if lineage is None or lineage.parent is None else self.trials[lineage.parent]

    def _has_weights(self, trial: FrozenTrial) -> bool:
        """Tell whether a child would inherit weights: see `CheckpointStore.inherit`."""
        if self.lineage(trial) is not None:
            return True
        try:
            own = CheckpointRecord.own(trial.number, trial.system_attrs, self.identity)
        except CheckpointError:  # damaged, but there is one
            return True
        return own is not None

    def _require_best(self) -> FrozenTrial:
        if self.best is None:
            n_complete = sum(trial.state == TrialState.COMPLETE for trial in self.trials)
            lack = "feasible" if n_complete else "COMPLETE"
            raise ValueError(
                f"Study {self.study_name!r} has no best trial: none of its {len(self.trials)} "
                f"trials is {lack}."
            )
        return self.best


def _best_number(study: Study) -> int | None:
    try:
        return study.best_trial.number
    except (ValueError, RuntimeError):  # nobody is COMPLETE and feasible; several objectives
        return None
