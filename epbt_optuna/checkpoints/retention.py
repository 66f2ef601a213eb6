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

from epbt_optuna._internal.optuna import read_trial
from epbt_optuna.checkpoints.pins import is_pinned
from epbt_optuna.checkpoints.records import CheckpointError, Record
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
        generations = Generations.recorded(study)
        if generations is None:
            raise ValueError(
                f"Study {study.study_name!r} has no generations: neither EPBTSampler nor "
                "PBTSampler has asked a trial in it."
            )
        self._generations = generations
        self._history = PopulationHistory(generations)
        self._n_trials = 0
        self._unfinished: dict[int, FrozenTrial] = {}
        self._parents: dict[int, tuple[int, ...]] = {}
        self._stored: dict[int, str] = {}
        self._pinned: set[int] = set()
        self._lock = threading.Lock()

    def ends_generation(self, number: int) -> bool:
        """Return whether the trial with this number is the last of its generation."""
        return self._generations.of(number) != self._generations.of(number + 1)

    def garbage(self, study: Study, keep: Keep, now: datetime) -> dict[int, str]:
        """Return the artifacts, by trial, that nobody can need any more.

        What had been stored before is compared with who is alive after, and with whom those
        need who were asked in between; so a trial asked meanwhile loses nothing.
        """
        with self._lock:
            return self._garbage(study, keep, now)

    @property
    def recorded(self) -> set[str]:
        """The artifacts that trials have recorded and that were not removed."""
        with self._lock:
            return set(self._stored.values())

    def forget(self, number: int) -> None:
        """Stop keeping track of a checkpoint that was removed."""
        with self._lock:
            self._stored.pop(number, None)

    def _garbage(self, study: Study, keep: Keep, now: datetime) -> dict[int, str]:
        self._read(study, now)
        candidates = dict(self._stored)
        # Whoever ends from here on is alive too late to be seen, and unfinished no more.
        needed = {*self._unfinished, *self._pinned, *self._alive(study)}
        self._read(study, now)
        if keep == "all" or any(_is_choosing(t, now) for t in self._unfinished.values()):
            return {}
        needed.update(self._needed_by_unfinished())
        if keep == "lineage":
            needed = self._with_ancestors(needed)
        return {number: artifact for number, artifact in candidates.items() if number not in needed}

    def _read(self, study: Study, now: datetime) -> None:
        """Read the trials that are new, and again those that had not ended."""
        again = [read_trial(study, number) for number in self._unfinished]
        for trial in filter(None, (*again, *self._new_trials(study))):
            self._unfinished[trial.number] = trial
            self._parents[trial.number] = _parents(trial)
            if trial.state == TrialState.COMPLETE and is_pinned(trial.system_attrs):
                self._pinned.add(trial.number)
            with suppress(CheckpointError):  # its reader is told; here the others count
                if (record := Record.own(trial.number, trial.system_attrs)) is not None:
                    self._stored[trial.number] = record.artifact
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

    def _needed_by_unfinished(self) -> Iterator[int]:
        """Yield the unfinished, their parents, and those whose partial checkpoint they retry."""
        for number, trial in self._unfinished.items():
            yield number
            yield from self._parents[number]
            with suppress(CheckpointError):
                if (record := Record.in_attrs(number, trial.system_attrs)) is not None:
                    yield record.trial

    def _with_ancestors(self, numbers: set[int]) -> set[int]:
        found: set[int] = set()
        frontier = list(numbers)
        while frontier:
            number = frontier.pop()
            if number not in found:
                found.add(number)
                frontier.extend(self._parents.get(number, ()))
        return found


def _parents(trial: FrozenTrial) -> tuple[int, ...]:
    lineage = Lineage.recorded(trial.number, trial.system_attrs)
    if lineage is None:
        return ()
    return tuple(n for n in (lineage.parent, lineage.mate) if n is not None)


def _is_choosing(trial: FrozenTrial, now: datetime) -> bool:
    started = trial.datetime_start
    return (
        trial.state == TrialState.RUNNING
        and Lineage.recorded(trial.number, trial.system_attrs) is None
        and started is not None
        and now - started < _IN_BETWEEN
    )


def _may_be_retried(trial: FrozenTrial, now: datetime) -> bool:
    ended = trial.datetime_complete
    return trial.state == TrialState.FAIL and ended is not None and now - ended < _IN_BETWEEN
