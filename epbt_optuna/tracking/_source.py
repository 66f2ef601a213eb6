"""The study as the courier sees it: read from its storage, or put together from its trials."""

from __future__ import annotations

import pickle
from contextlib import suppress

import optuna
from optuna import Study
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from epbt_optuna.tracking._spool import Address

__all__ = ["Source"]


class Source:
    """Gives the study, as it is now.

    Where only training's own process can read it (in memory), all trials are of that process, and
    all are handed over: what has been so far is the study.

    Args:
        address: Names the study, and has its storage if others can read that.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._storage: BaseStorage | None = None
        if address.storage is not None:
            with suppress(Exception):  # a class that this process does not know
                self._storage = pickle.loads(address.storage)
        self._trials: dict[int, FrozenTrial] = {}

    @property
    def is_shared(self) -> bool:
        """Whether it is read from its storage, so that others may work on it too."""
        return self._storage is not None

    def add(self, trial: FrozenTrial) -> None:
        """Take note of a trial that was handed over."""
        if not self.is_shared:
            self._trials[trial.number] = trial

    def study(self) -> Study:
        """Return the study, for reading."""
        if self._storage is None:
            return self._put_together()
        return optuna.load_study(
            study_name=self._address.study_name,
            storage=self._storage,
            sampler=RandomSampler(),
            pruner=NopPruner(),
        )

    def _put_together(self) -> Study:
        storage = InMemoryStorage()
        name = self._address.study_name
        study_id = storage.create_new_study(self._address.directions, name)
        unknown = create_trial(state=TrialState.RUNNING)
        for number in range(max(self._trials, default=-1) + 1):
            storage.create_new_trial(study_id, self._trials.get(number, unknown))
        study = optuna.load_study(
            study_name=name, storage=storage, sampler=RandomSampler(), pruner=NopPruner()
        )
        if self._address.generations is not None:
            self._address.generations.record(study)
        return study
