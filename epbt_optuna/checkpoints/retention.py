"""Retention: which checkpoints somebody may still need, so that the others can go.

By ancestry, never by age: a checkpoint is kept while its trial may become a parent, is the parent
of an unfinished trial, is the best or the fittest, or is pinned as a result. A population only
gains members or replaces them for good, whether its elites stand still or go on training. So
whoever nobody needs now will not be needed by any trial that is asked later. What remains are the
workers that were choosing a parent while this was found out.

So garbage goes in two steps. The first marks it, with how many trials had been asked by then. The
second lets it go, once no trial below that number may still choose it. With nobody choosing, both
happen in one collection. Workers that are choosing all the time are no reason to wait: those that
were asked after the mark choose from what was alive at the mark, or came later.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Literal, NamedTuple, TypeAlias

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.attrs import PINNED, AttrError, pass_over
from epbt_optuna._internal.choosing import CHOOSING_SECONDS
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import read_trial
from epbt_optuna.checkpoints.records import CheckpointError, CheckpointRecord
from epbt_optuna.population import Generations, Lineage, PopulationHistory

__all__ = ["Keep", "Retention"]

Keep: TypeAlias = Literal["population", "lineage", "all"]


class _Mark(NamedTuple):
    """When a checkpoint was found to be garbage.

    Attributes:
        n_trials: How many trials had been asked. Later ones cannot choose it.
        time: The collector's own clock, in seconds.
    """

    n_trials: int
    time: float


class Retention:
    """The checkpoints of one study, as far as it has been read; each trial is read until it ends.

    Args:
        study: A study that a sampler of ours breeds in.
        clock: Seconds from any moment on, never set back.

    Raises:
        ValueError: No sampler of ours has asked a trial in the study.
    """

    def __init__(self, study: Study, clock: Callable[[], float] = time.monotonic) -> None:
        self._generations = Generations.required(study)
        self._history = PopulationHistory(self._generations)
        self._clock = clock
        self._n_trials = 0
        # With those that failed since the last collection: a retry may be queued any moment, and
        # starts from what they had saved, or from their parent.
        self._unfinished: dict[int, FrozenTrial] = {}
        self._parents: dict[int, tuple[int, ...] | None] = {}  # None: not recorded, or unread
        self._unread: set[int] = set()
        self._stored: dict[int, CheckpointRecord] = {}
        self._pinned: set[int] = set()
        self._marks: dict[int, _Mark] = {}
        self._is_waiting = False
        self._collects_again = False
        self._lock = threading.Lock()

    def is_due(self, number: int) -> bool:
        """Return whether to collect now that the trial with this number has ended.

        That is at the end of its generation, and once more after the next trial of this process
        if something had to wait. With a process for each worker, it may be long until the same
        one ends a generation again, and marks are not shared.
        """
        with self._lock:
            ends = self._generations.of(number) != self._generations.of(number + 1)
            is_due = ends or (self._collects_again and self._is_waiting)
            self._collects_again = ends
            return is_due

    def garbage(self, study: Study, keep: Keep) -> dict[int, CheckpointRecord]:
        """Return the checkpoints, by trial, that can go now."""
        with self._lock:
            needed = self._mark(study)
            return {} if keep == "all" else self._released(study, needed, keep)

    def needed(self, study: Study, keep: Keep) -> dict[int, CheckpointRecord]:
        """Return the checkpoints, by trial, that are kept where no worker is at work."""
        with self._lock:
            needed = self._mark(study) | self._needed_by_unfinished(StudyIdentity.of(study))
            if keep == "lineage":
                needed = self._with_ancestors(needed)
            stored = self._stored.items()
            return {n: record for n, record in stored if n in needed or keep == "all"}

    @property
    def recorded(self) -> set[str]:
        """The artifacts that trials have recorded and that were not removed."""
        with self._lock:
            return {record.artifact for record in self._stored.values()}

    @property
    def n_trials(self) -> int:
        """How many trials had been asked when the study was last read."""
        return self._n_trials

    def end_collection(self, removed: Iterable[int]) -> None:
        """Stop keeping track of what was removed, and of those that failed before."""
        with self._lock:
            for number in removed:
                self._stored.pop(number, None)
                self._marks.pop(number, None)
            failed = [n for n, t in self._unfinished.items() if t.state == TrialState.FAIL]
            for number in failed:
                del self._unfinished[number]

    def _mark(self, study: Study) -> set[int]:
        """Mark what nobody can choose any more; return those who can be, and those pinned."""
        # Workers go on asking, choosing parents and ending trials while this reads, so its three
        # readings show three moments. That is safe in this order:
        # 1. What could be removed was stored before anything else was looked at. What is stored
        #    later is not a candidate.
        # 2. Then who may be chosen. A trial that completes after this reading is in no population
        #    that was read, but it was unfinished in the first one, which keeps it.
        # 3. Then the trials again: how many there are, and the parents that were chosen meanwhile.
        #    A worker that looks at a population after (2) chooses from whom (2) has seen, or from
        #    trials that came later. One that looked before (2) was asked before (3): it is below
        #    the number in the mark. A trial that waited in (1) is seen by (2), as its own
        #    generation's parents; one that waits in (3) looks after (2).
        self._read(study)
        candidates = self._stored.keys() - self._unfinished.keys()
        needed = {*self._pinned, *self._alive(study)}
        self._read(study)
        mark = _Mark(self._n_trials, self._clock())
        for number in candidates - needed:
            self._marks.setdefault(number, mark)  # the first one holds for good
        return needed

    def _released(self, study: Study, needed: set[int], keep: Keep) -> dict[int, CheckpointRecord]:
        """Return what is marked and neither needed nor possibly chosen."""
        # Each trial below a mark's number was read after the mark was made. It had recorded its
        # parents, which are needed while it has not ended; or it was still choosing, and then all
        # that it may choose waits. Nothing of this can change before the bytes are removed,
        # however long that takes: later trials choose nobody who is marked.
        may_be_chosen = self._may_be_chosen()
        waiting = {n for n, mark in self._marks.items() if may_be_chosen(n, mark)}
        needed = needed | waiting | self._needed_by_unfinished(StudyIdentity.of(study))
        if keep == "lineage":
            needed = self._with_ancestors(needed)
        self._is_waiting = bool(waiting)
        # A trial that was added to its own study again has the bytes of the one that it was.
        kept = {self._stored[n].artifact for n in needed & self._stored.keys()}
        garbage = ((n, self._stored[n]) for n in self._marks if n not in needed)
        return {n: record for n, record in garbage if record.artifact not in kept}

    def _may_be_chosen(self) -> Callable[[int, _Mark], bool]:
        """Return a function that says whether somebody may have chosen a trial before its mark."""
        running = [n for n, t in self._unfinished.items() if t.state == TrialState.RUNNING]
        unread = sorted(self._unread.intersection(running))
        choosing = sorted(n for n in running if self._parents[n] is None and n not in self._unread)
        now = self._clock()

        def may_be_chosen(number: int, mark: _Mark) -> bool:
            # A worker that looked at a population before the mark and has not recorded whom it
            # chose within `CHOOSING_SECONDS` is dead, or chooses again. A record that cannot be
            # read, as of a newer version, will not be readable later: it holds while the trial
            # runs.
            is_recent = now - mark.time <= CHOOSING_SECONDS
            choosers = (unread, choosing) if is_recent else (unread,)
            return any(self._breeds_after(number, n, mark.n_trials) for n in choosers)

        return may_be_chosen

    def _breeds_after(self, number: int, choosers: list[int], n_trials: int) -> bool:
        """Return whether one of the sorted choosers below `n_trials` is of a later generation.

        Parents are of earlier generations. So a dead worker, or one that is slow for an hour,
        holds up what was garbage in its time, and nothing of what has become garbage since.
        """
        last = bisect_left(choosers, n_trials) - 1
        if last < 0:
            return False
        generation = self._generations.of(choosers[last])
        return number < self._generations.n_trials(generation)

    def _read(self, study: Study) -> None:
        """Read the trials that are new, and again those that had not ended."""
        identity = StudyIdentity.of(study)
        again = [read_trial(study, number) for number in self._unfinished]
        for trial in filter(None, (*again, *self._new_trials(study))):
            number, attrs = trial.number, trial.system_attrs
            self._unfinished[number] = trial
            if self._parents.get(number) is None:  # it is recorded once, at ask
                self._read_lineage(number, attrs, identity)
            if trial.state == TrialState.COMPLETE and PINNED.key in attrs:
                self._pinned.add(number)
            with suppress(CheckpointError):  # its reader is told; here the others count
                own = CheckpointRecord.own(number, attrs, identity)
                if own is not None:
                    self._stored[number] = own
            if trial.state.is_finished() and trial.state != TrialState.FAIL:
                del self._unfinished[number]

    def _read_lineage(
        self, number: int, system_attrs: Mapping[str, Any], identity: StudyIdentity
    ) -> None:
        self._parents[number] = None
        try:
            lineage = Lineage.recorded(number, system_attrs, identity)
        except AttrError as error:  # who inherits by it is told
            pass_over(str(error))
            self._unread.add(number)
            return
        self._unread.discard(number)
        if lineage is not None:
            self._parents[number] = lineage.parents

    def _new_trials(self, study: Study) -> Iterator[FrozenTrial]:
        while (trial := read_trial(study, self._n_trials)) is not None:
            self._n_trials += 1
            yield trial

    def _alive(self, study: Study) -> Iterator[int]:
        """Yield those who may be chosen as parents, now or later, the fittest and the best."""
        # Not asked yet: the next trial, whose generation may grow and be bred from, and those that
        # wait in the queue, maybe for long. They breed from what is left of their own parents.
        waiting = (n for n, t in self._unfinished.items() if t.state == TrialState.WAITING)
        next_generation = self._generations.of(self._n_trials)
        of_generations = {next_generation, *map(self._generations.of, waiting)}
        alive = {*self._history.population(study, next_generation)}
        alive.update(*self._history.newest(study, *(g - 1 for g in of_generations)))
        if (fittest := self._history.fittest(study, next_generation)) is not None:
            alive.add(fittest)  # for good, or until a fitter one completes
        yield from (individual.number for individual in alive)
        with suppress(ValueError):  # nothing has completed, or nothing feasible has
            yield study.best_trial.number

    def _needed_by_unfinished(self, identity: StudyIdentity) -> set[int]:
        """Return the unfinished, their parents, and those whose partial checkpoint they retry."""
        needed = set(self._unfinished)
        for number, trial in self._unfinished.items():
            needed.update(self._parents[number] or ())
            with suppress(CheckpointError):
                partial = CheckpointRecord.partial(number, trial.system_attrs, identity)
                if partial is not None:
                    needed.add(partial.trial)
        return needed

    def _with_ancestors(self, numbers: set[int]) -> set[int]:
        found: set[int] = set()
        frontier = list(numbers)
        while frontier:
            number = frontier.pop()
            if number not in found:
                found.add(number)
                frontier.extend(self._parents.get(number) or ())
        return found
