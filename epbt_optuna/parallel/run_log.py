"""What a run says of its trials, for those who read a file rather than watch a terminal.

A line when worker processes start; one for each trial, as `Study.optimize` has it; one for each
generation; and one for each trial that went on with another's weights and a genome of its own. All
go to Optuna's logger, so that `optuna.logging.set_verbosity(optuna.logging.WARNING)` is silent here
too.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from statistics import median
from typing import Any

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import read_trial
from epbt_optuna._internal.optuna_loop import log_completed
from epbt_optuna._internal.text import get_logger
from epbt_optuna.population import Generations, Individual, Lineage

__all__ = ["RunLog"]

_logger = get_logger("epbt_optuna.parallel")

_MOST_CHANGES = 4  # params in a line; all of them are in the trial's own


class RunLog:
    """Says what becomes of the trials of one run.

    Args:
        study: The study.
        every_trial: False: only a line for each generation, where a bar counts the trials.
    """

    def __init__(self, study: Study, *, every_trial: bool) -> None:
        self._study = study
        self._every_trial = every_trial
        self._is_on = _logger.isEnabledFor(logging.INFO)
        self._n_finished: Counter[int] = Counter()  # by generation, told ones left out
        self._newest = -1

    def start(self, n_workers: int, n_trials: int) -> None:
        """Say that the run has begun: it takes a while until the first trial has finished."""
        if self._every_trial:
            _logger.info("%d trials with %d worker processes, which start.", n_trials, n_workers)

    def update(self, trial: FrozenTrial, generation: int | None) -> None:
        """Say what there is to say when a trial has finished."""
        if not self._is_on:
            return
        if self._every_trial:
            self._tell_inheritance(trial)
            if trial.state == TrialState.COMPLETE:
                log_completed(self._study, trial)
            elif trial.state == TrialState.PRUNED:
                _logger.info("Trial %d pruned.", trial.number)
        if generation is not None and self._generations is not None:
            self._count(generation, self._generations)

    def _count(self, generation: int, generations: Generations) -> None:
        """Say how a generation did once its last trial has finished.

        Other drivers, and runs before this one, may have had some of its trials. So all are looked
        at when those counted here suffice, or when a later generation has begun to finish.
        """
        self._n_finished[generation] += 1
        if generation > self._newest:
            due = [*self._n_finished]
            self._newest = generation
        else:
            n_trials = len(generations.numbers(generation))
            due = [generation] if self._n_finished[generation] == n_trials else []
        for one in sorted(due):
            numbers = generations.numbers(one)
            trials = self._study.get_trials(deepcopy=False)[numbers.start : numbers.stop]
            if len(trials) == len(numbers) and all(t.state.is_finished() for t in trials):
                del self._n_finished[one]
                self._tell_generation(one, trials)

    def _tell_generation(self, generation: int, trials: list[FrozenTrial]) -> None:
        states = Counter(trial.state for trial in trials)
        complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        parts = []
        if complete:
            direction = self._study.direction
            best = max(complete, key=lambda trial: Individual.of(trial, direction).best_key)
            middle = median(trial.values[0] for trial in complete)
            parts = [f"best {best.values[0]:.4g} (trial {best.number})", f"median {middle:.4g}"]
        parts += [
            f"{states[state]} {name}"
            for state, name in ((TrialState.PRUNED, "pruned"), (TrialState.FAIL, "failed"))
            if states[state]
        ]
        begun = [trial.datetime_start for trial in trials if trial.datetime_start is not None]
        ended = [trial.datetime_complete for trial in trials if trial.datetime_complete is not None]
        if begun and ended:
            parts.append(f"{(max(ended) - min(begun)).total_seconds():.1f} s")
        _logger.info("Generation %d finished: %s.", generation, ", ".join(parts))

    def _tell_inheritance(self, trial: FrozenTrial) -> None:
        try:
            lineage = Lineage.recorded(trial.number, trial.system_attrs, self._identity)
        except ValueError:  # damaged: an error where something depends on it, which no line does
            return
        if lineage is None or lineage.parent is None:
            return
        parent = read_trial(self._study, lineage.parent)
        if parent is None or not (changes := _changes(parent.params, trial.params)):
            return  # who goes on with its own genome is the same individual
        shown = [*changes[:_MOST_CHANGES]]
        if len(changes) > _MOST_CHANGES:
            shown.append(f"{len(changes) - _MOST_CHANGES} more changed")
        value = "" if parent.value is None else f" ({parent.value:.4g})"
        _logger.info(
            "Trial %d takes weights of %d%s, %s.",
            trial.number,
            parent.number,
            value,
            ", ".join(shown),
        )

    @cached_property
    def _generations(self) -> Generations | None:
        return Generations.recorded(self._study)

    @cached_property
    def _identity(self) -> StudyIdentity:
        return StudyIdentity.of(self._study)


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} {_text(before[name]) if name in before else 'none'} → {_text(value)}"
        for name, value in after.items()
        if name not in before or before[name] != value
    ]


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
