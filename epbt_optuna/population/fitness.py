"""The fitness that selection and elitism go by, smoothed along the lineage."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna.population.individuals import Individual, raw_fitness
from epbt_optuna.population.origin import Lineage

__all__ = ["SmoothedFitness"]


@dataclass(frozen=True)
class SmoothedFitness:
    """A fitness in which an individual's parent counts: one lucky evaluation does not decide.

    An individual's smoothed fitness is (1 − β)·value + β·(its parent's smoothed fitness), so that
    the grandparent has β² and so on. A founder's is its value, and so is that of an individual
    where either of the two is not finite. Constraints are never smoothed.

    Attributes:
        smoothing: β, in [0, 1); with 0 fitness is the value.
        direction: The study's direction.
        identity: Says which lineages are the study's own.
        read: Returns a trial of the study by its number.
        known: The smoothed fitness of COMPLETE trials, by number. It can never change, so whoever
            keeps this mapping has each computed once.
    """

    smoothing: float
    direction: StudyDirection
    identity: StudyIdentity
    read: Callable[[int], FrozenTrial | None]
    known: dict[int, float] = field(default_factory=dict)

    def individual(self, trial: FrozenTrial) -> Individual:
        """Return the individual that a COMPLETE trial evaluated, with its smoothed fitness."""
        raw = Individual.of(trial, self.direction)
        if trial.number not in self.known:
            self.known[trial.number] = self.smoothed(trial, raw.fitness)
        return replace(raw, fitness=self.known[trial.number])

    def smoothed(self, trial: FrozenTrial, fitness: float) -> float:
        """Return what a trial's fitness counts for, evaluated or not; greater is fitter.

        Args:
            trial: The trial, which may still run.
            fitness: Its value, negated where the study minimises.
        """
        return self._mixed(fitness, self._of_parent(trial)) if self.smoothing else fitness

    def _of_parent(self, trial: FrozenTrial) -> float | None:
        """Return the smoothed fitness of a trial's parent; None for a founder.

        Who reads generation by generation knows the parent's already. But it may have completed,
        and have had this child, since its generation was read: then it is read here, and of its
        ancestors those that are not known either. Parents have smaller numbers, so this ends.
        """
        unknown: list[FrozenTrial] = []  # the youngest first
        number = self._parent_of(trial)
        while number is not None and number not in self.known:
            parent = self.read(number)
            if parent is None or parent.state != TrialState.COMPLETE:  # a wrong record
                number = None
                break
            unknown.append(parent)
            number = self._parent_of(parent)
        fitness = None if number is None else self.known[number]
        for ancestor in reversed(unknown):
            own = raw_fitness(ancestor.values[0], self.direction)
            fitness = self._mixed(own, fitness)
            self.known[ancestor.number] = fitness
        return fitness

    def _mixed(self, own: float, parents: float | None) -> float:
        if parents is None or not (math.isfinite(own) and math.isfinite(parents)):
            return own
        return (1 - self.smoothing) * own + self.smoothing * parents

    def _parent_of(self, trial: FrozenTrial) -> int | None:
        lineage = Lineage.readable(trial.number, trial.system_attrs, self.identity)
        return None if lineage is None else lineage.parent
