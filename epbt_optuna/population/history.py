"""The populations of a study, read as its trials finish."""

from __future__ import annotations

import threading
import warnings
from functools import partial

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import read_trial
from epbt_optuna.population.fitness import SmoothedFitness
from epbt_optuna.population.generations import Generations
from epbt_optuna.population.individuals import Individual, Population, next_population

__all__ = ["PopulationHistory"]


class PopulationHistory:
    """The populations M_0, M_1, … of one study, each as far as its trials have finished.

    A finished trial is read once; a generation whose trials have all finished, never again.
    """

    def __init__(self, generations: Generations) -> None:
        self._generations = generations
        self._evaluated: list[list[Individual]] = []
        self._pending: dict[int, list[int]] = {}
        self._populations: list[Population] = []
        self._fittest: Individual | None = None
        self._smoothed: dict[int, float] = {}
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

    def fittest(self, study: Study, generation: int) -> Individual | None:
        """Return the fittest of all who were evaluated until this generation, or later."""
        with self._lock:
            self._population(study, generation)
            return self._fittest

    def fitness(self, study: Study) -> SmoothedFitness:
        """Return the fitness that this history goes by."""
        identity, read = StudyIdentity.of(study), partial(read_trial, study)
        smoothing = self._generations.fitness_smoothing
        return SmoothedFitness(smoothing, study.direction, identity, read, self._smoothed)

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
        if not self._pending and generation < len(self._populations):  # as for most trials
            return self._populations[generation] if generation >= 0 else ()
        changed = [g for g in self._pending if g <= generation and self._read_finished(study, g)]
        del self._populations[min(changed, default=len(self._populations)) :]
        for g in range(len(self._populations), generation + 1):
            if g == len(self._evaluated):
                self._evaluated.append([])
                self._pending[g] = list(self._generations.numbers(g))
                self._read_finished(study, g)
            previous = self._populations[-1] if g > 0 else ()
            n_standing = self._generations.n_standing
            self._populations.append(next_population(self._evaluated[g], previous, n_standing))
        self._pending = {g: numbers for g, numbers in self._pending.items() if numbers}
        return self._populations[generation] if generation >= 0 else ()

    def _read_finished(self, study: Study, generation: int) -> bool:
        """Move what has finished of a generation out of pending; return whether any may breed."""
        running: list[int] = []
        complete: list[FrozenTrial] = []
        for number in self._pending[generation]:
            trial = read_trial(study, number)
            if trial is None or not trial.state.is_finished():
                running.append(number)
            elif trial.state == TrialState.COMPLETE:
                complete.append(trial)
        self._pending[generation] = running
        if not complete:
            return False
        evaluated = self._individuals(study, complete)
        self._evaluated[generation].extend(evaluated)
        candidates = evaluated if self._fittest is None else [*evaluated, self._fittest]
        self._fittest = max(candidates, key=lambda individual: individual.rank_key)
        return True

    def _individuals(self, study: Study, trials: list[FrozenTrial]) -> list[Individual]:
        if not self._generations.fitness_smoothing:  # then nobody's lineage need be read
            return [Individual.of(trial, study.direction) for trial in trials]
        return list(map(self.fitness(study).individual, trials))
