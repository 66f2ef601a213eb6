"""Finished trials, each read once: they do not change any more."""

from __future__ import annotations

from collections import OrderedDict

from optuna import Study
from optuna.trial import FrozenTrial

from epbt_optuna._internal.optuna import read_trial

__all__ = ["FinishedTrials"]


class FinishedTrials:
    """Reads the trials of one study, and remembers those that have finished.

    Threads may read at the same time. Then both ask the storage, both get the same finished trial,
    and it does not matter whose is remembered.

    Args:
        capacity: How many are remembered: those that were read last.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._trials: OrderedDict[int, FrozenTrial] = OrderedDict()

    def read(self, study: Study, number: int) -> FrozenTrial | None:
        """Return the trial with this number; None if there is none yet."""
        known = self._trials.get(number)
        if known is not None:
            return known
        trial = read_trial(study, number)
        if trial is not None and trial.state.is_finished():
            self._trials[number] = trial
            while len(self._trials) > self._capacity:
                self._trials.popitem(last=False)
        return trial
