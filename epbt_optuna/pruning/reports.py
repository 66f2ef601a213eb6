"""What the trials of a generation had reported when the one that is looked at had come so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.attrs import AttrError, pass_over
from epbt_optuna._internal.optuna import constraints_of
from epbt_optuna.checkpoints.reports import reports_of
from epbt_optuna.population import SmoothedFitness
from epbt_optuna.population.individuals import raw_fitness

__all__ = ["Reports"]


class Reports:
    """Reads trials as they were after so many reports, in fitness: greater is fitter.

    A network that a retry goes on with has been trained before: those reports count.

    Where the sampler smooths fitness, what was reported counts as it would at the end of its
    trial: mixed with what the trial's parent is worth.

    Args:
        fitness: The fitness that the sampler's selection goes by.
        trial: The trial whose reports until now say how many.
    """

    def __init__(self, fitness: SmoothedFitness, trial: FrozenTrial) -> None:
        self._fitness = fitness
        self._values: dict[int, list[float]] = {}
        self.n_reports = len(self._values_of(trial))

    def has_come_so_far(self, trial: FrozenTrial) -> bool:
        """Return whether a trial has reported as often."""
        return len(self._values_of(trial)) >= self.n_reports

    def own(self, trial: FrozenTrial) -> float:
        """Return what a trial had reported by then, whether or not it is feasible."""
        return self._of(trial, self._values_of(trial)[self.n_reports - 1])

    def report(self, trial: FrozenTrial) -> float:
        """Return what a trial that it is compared with had reported by then."""
        return -math.inf if _is_infeasible(trial) else self.own(trial)

    def final(self, trial: FrozenTrial) -> float:
        """Return the fitness of a COMPLETE trial."""
        return -math.inf if _is_infeasible(trial) else self._of(trial, trial.values[0])

    def gains(self, trials: Sequence[FrozenTrial]) -> list[float]:
        """Return by how much COMPLETE trials that were trained on from there had improved."""
        gains = [
            self._of(trial, trial.values[0]) - self.own(trial)
            for trial in trials
            if trial.state == TrialState.COMPLETE and len(self._values_of(trial)) > self.n_reports
        ]
        return [gain for gain in gains if math.isfinite(gain)]

    def _values_of(self, trial: FrozenTrial) -> list[float]:
        """Return the values that were reported of a trial's network, in order."""
        if trial.number not in self._values:
            try:
                reports = reports_of(trial, self._fitness.identity, self._fitness.read)
                values = [report.value for report in reports]
            except AttrError as error:  # no reason to end a run: its own reports remain
                pass_over(str(error))
                values = [trial.intermediate_values[n] for n in sorted(trial.intermediate_values)]
            self._values[trial.number] = values
        return self._values[trial.number]

    def _of(self, trial: FrozenTrial, value: float) -> float:
        if math.isnan(value):
            return -math.inf
        return self._fitness.smoothed(trial, raw_fitness(value, self._fitness.direction))


def _is_infeasible(trial: FrozenTrial) -> bool:
    return any(constraint > 0 for constraint in constraints_of(trial))
