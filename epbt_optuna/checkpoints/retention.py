"""Retention: which checkpoints somebody may still need, so that the others can go.

By ancestry, never by age: a checkpoint is kept while its trial may become a parent, is the parent
of an unfinished trial, is the best, or is pinned as a result. A population only gains members or
replaces them for good, so whoever nobody needs now will not be needed by any trial that is asked
later.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.attrs import PINNED, AttrError, pass_over
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import read_trial
from epbt_optuna.checkpoints.records import CheckpointError, CheckpointRecord
from epbt_optuna.population import Generations, Lineage, PopulationHistory

__all__ = ["Keep", "Retention"]

Keep: TypeAlias = Literal["population", "lineage", "all"]

# A worker that was given a trial, but has not recorded its parent yet, may be choosing anybody;
# Optuna's heartbeat fails a trial just before it queues the retry. Both take milliseconds: what
# is older was cut off in between.
_IN_BETWEEN = timedelta(seconds=60)


class Retention:
    """The checkpoints of one study, as far as it has been read; each trial is read until it ends.

    Args:
        study: A study that a sampler of ours breeds in.

    Raises:
        ValueError: No sampler of ours has asked a trial in the study.
    """

    def __init__(self, study: Study) -> None:
        self._generations = Generations.required(study)
        self._history = PopulationHistory(self._generations)
        self._n_trials = 0
        self._unfinished: dict[int, FrozenTrial] = {}
        self._parents: dict[int, tuple[int, ...]] = {}
        self._stored: dict[int, CheckpointRecord] = {}
        self._pinned: set[int] = set()
        self._lock = threading.Lock()

    def ends_generation(self, number: int) -> bool:
        """Return whether the trial with this number is the last of its generation."""
        return self._generations.of(number) != self._generations.of(number + 1)

    def garbage(self, study: Study, keep: Keep, now: datetime) -> dict[int, CheckpointRecord]:
        """Return the checkpoints, by trial, that nobody can need any more."""
        with self._lock:
            return self._garbage(study, keep, now)

    @property
    def recorded(self) -> set[str]:
        """The artifacts that trials have recorded and that were not removed."""
        with self._lock:
            return {record.artifact for record in self._stored.values()}

    def forget(self, number: int) -> None:
        """Stop keeping track of a checkpoint that was removed."""
        with self._lock:
            self._stored.pop(number, None)

    def _garbage(self, study: Study, keep: Keep, now: datetime) -> dict[int, CheckpointRecord]:
        # Workers go on asking, choosing parents and ending trials while this reads, so its three
        # readings show three moments. That is safe in this order:
        # 1. What could be removed was stored before anything else was looked at. What is stored
        #    later is not a candidate.
        # 2. Then who may be chosen. A trial that completes after this reading is in no population
        #    that was read, but it was unfinished in the first one, which keeps it.
        # 3. Then the trials again, with the parents that were chosen meanwhile. A worker that
        #    chose before (2) from a population that has gone by has recorded whom by now, or is
        #    still choosing: then nothing is removed this time. A worker that begins to choose
        #    after (2) chooses from whom (2) has seen, or from trials that came later.
        self._read(study, now)
        candidates = dict(self._stored)
        needed = {*self._unfinished, *self._pinned, *self._alive(study)}
        self._read(study, now)
        identity = StudyIdentity.of(study)
        running = self._unfinished.values()
        if keep == "all" or any(_is_choosing(trial, identity, now) for trial in running):
            return {}
        needed.update(self._needed_by_unfinished(identity))
        if keep == "lineage":
            needed = self._with_ancestors(needed)
        return {number: record for number, record in candidates.items() if number not in needed}

    def _read(self, study: Study, now: datetime) -> None:
        """Read the trials that are new, and again those that had not ended."""
        identity = StudyIdentity.of(study)
        again = [read_trial(study, number) for number in self._unfinished]
        for trial in filter(None, (*again, *self._new_trials(study))):
            self._unfinished[trial.number] = trial
            lineage = _lineage(trial, identity)
            self._parents[trial.number] = () if lineage is None else lineage.parents
            if trial.state == TrialState.COMPLETE and PINNED.key in trial.system_attrs:
                self._pinned.add(trial.number)
            with suppress(CheckpointError):  # its reader is told; here the others count
                own = CheckpointRecord.own(trial.number, trial.system_attrs, identity)
                if own is not None:
                    self._stored[trial.number] = own
            if trial.state.is_finished() and not _may_be_retried(trial, now):
                del self._unfinished[trial.number]

    def _new_trials(self, study: Study) -> Iterator[FrozenTrial]:
        while (trial := read_trial(study, self._n_trials)) is not None:
            self._n_trials += 1
            yield trial

    def _alive(self, study: Study) -> Iterator[int]:
        """Yield those who may be chosen as parents, now or later, and the best."""
        waiting = (n for n, t in self._unfinished.items() if t.state == TrialState.WAITING)
        for generation in {self._generations.of(number) for number in (*waiting, self._n_trials)}:
            for individual in self._history.newest(study, generation - 1):
                yield individual.number
            for individual in self._history.population(study, generation):
                yield individual.number
        with suppress(ValueError):  # nothing has completed, or nothing feasible has
            yield study.best_trial.number

    def _needed_by_unfinished(self, identity: StudyIdentity) -> Iterator[int]:
        """Yield the unfinished, their parents, and those whose partial checkpoint they retry."""
        for number, trial in self._unfinished.items():
            yield number
            yield from self._parents[number]
            with suppress(CheckpointError):
                partial = CheckpointRecord.partial(number, trial.system_attrs, identity)
                if partial is not None:
                    yield partial.trial

    def _with_ancestors(self, numbers: set[int]) -> set[int]:
        found: set[int] = set()
        frontier = list(numbers)
        while frontier:
            number = frontier.pop()
            if number not in found:
                found.add(number)
                frontier.extend(self._parents.get(number, ()))
        return found


def _lineage(trial: FrozenTrial, identity: StudyIdentity) -> Lineage | None:
    try:
        return Lineage.recorded(trial.number, trial.system_attrs, identity)
    except AttrError as error:  # who inherits by it is told; here nobody depends on it
        pass_over(str(error))
        return None


def _is_choosing(trial: FrozenTrial, identity: StudyIdentity, now: datetime) -> bool:
    started = trial.datetime_start
    return (
        trial.state == TrialState.RUNNING
        and _lineage(trial, identity) is None
        and started is not None
        and now - started < _IN_BETWEEN
    )


def _may_be_retried(trial: FrozenTrial, now: datetime) -> bool:
    ended = trial.datetime_complete
    return trial.state == TrialState.FAIL and ended is not None and now - ended < _IN_BETWEEN
