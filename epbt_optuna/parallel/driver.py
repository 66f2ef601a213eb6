"""The loop of a run: ask trials, hand them to free workers, wait for the first to finish.

One process drives. It asks, so numbers and parents are handed out in order; the workers run and
tell; callbacks are called here, one at a time.

Everything in this module happens in one thread, so its own state needs no lock. Workers share with
it only the storage, which decides who finishes a trial: the first to set a final state does, and
everybody after that, be it a worker, this driver or another one, gets `UpdateFinishedTrialError`
and leaves the trial as it is.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TypeAlias

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.attrs import ERROR
from epbt_optuna._internal.optuna import storage_of, trial_id_of
from epbt_optuna._internal.optuna_loop import (
    fail_lost_trial,
    fail_stale,
    has_heartbeat,
    heartbeat_interval,
    stop_requested,
)
from epbt_optuna._internal.text import get_logger
from epbt_optuna.parallel.deaths import Deaths
from epbt_optuna.parallel.engines.protocol import Engine, WorkerDied
from epbt_optuna.parallel.interrupts import Interrupts
from epbt_optuna.parallel.progress import Progress
from epbt_optuna.parallel.queue import TrialQueue
from epbt_optuna.parallel.worker import Outcome, note

__all__ = ["Callback", "Driver"]

Callback: TypeAlias = Callable[[Study, FrozenTrial], None]

_logger = get_logger("epbt_optuna.parallel")
_POLL_SECONDS = 0.5  # while the trials of other drivers run


class Driver:
    """Drives one run.

    Args:
        study: The study.
        engine: Runs the trials.
        queue: Which trials.
        interrupts: Entered; lets Ctrl-C through while the driver waits.
        progress: The bar.
        barrier: Whether a generation begins only when the last one has finished.
        callbacks: Called with the study and each finished trial.
        deadline: When to ask no more, by `time.monotonic`.
    """

    def __init__(
        self,
        study: Study,
        engine: Engine,
        queue: TrialQueue,
        interrupts: Interrupts,
        progress: Progress,
        *,
        barrier: bool,
        callbacks: Sequence[Callback],
        deadline: float,
    ) -> None:
        self._study = study
        self._engine = engine
        self._queue = queue
        self._interrupts = interrupts
        self._progress = progress
        self._barrier = barrier
        self._callbacks = callbacks
        self._deadline = deadline
        self._stopped = False
        self._lost: list[int] = []
        self._deaths = Deaths()
        self._failed_at_last_look: set[int] = set()
        self._last_look = time.monotonic()
        self._running: dict[Future[Outcome], tuple[int, int]] = {}  # number and id of each

    def run(self) -> None:
        """Run all trials.

        Raises:
            BaseException: What an objective raised, unless it is caught, or a callback, or the
                engine. Trials that run at that moment are finished first.
            KeyboardInterrupt: Ctrl-C. Trials that run are interrupted and failed, or finished
                where the engine cannot interrupt them.
        """
        try:
            try:
                self._loop()
            except KeyboardInterrupt:
                raise
            except BaseException:
                self._drain()
                raise
        except KeyboardInterrupt:
            self._cut_short()
            raise
        finally:
            if self._lost:
                _logger.warning(
                    "%d trials were lost with their workers: %s",
                    len(self._lost),
                    sorted(self._lost),
                )

    def _loop(self) -> None:
        while True:
            self._refill()
            if not self._running:
                return
            for future in self._finished():
                error = self._finish(future)
                if error is not None:
                    raise error

    # Asking

    def _refill(self) -> None:
        while len(self._running) < self._engine.n_workers and self._goes_on():
            if self._barrier and not self._may_begin_next():
                return
            if self._goes_on():  # others may have been waited for
                self._ask()

    def _goes_on(self) -> bool:
        if self._stopped or stop_requested(self._study) or time.monotonic() >= self._deadline:
            return False
        return not self._queue.is_done

    def _ask(self) -> None:
        fail_stale(self._study)
        # Another driver may have asked since the barrier was looked at. The storage gives a number
        # to one of us only, so no trial is run twice; but ours may now be the first of the
        # generation after. It begins early then, and breeds from those that have finished.
        trial = self._study.ask()
        self._queue.count()
        try:
            future = self._engine.submit(trial)
        except BaseException:
            fail_lost_trial(self._study, trial_id_of(trial))
            raise
        self._running[future] = trial.number, trial_id_of(trial)

    def _may_begin_next(self) -> bool:
        """Return whether all earlier generations have finished (Algorithm 1, step 3)."""
        generation = self._queue.next_generation
        if generation is None:
            return True
        own = {self._queue.generation_of(number) for number, _ in self._running.values()}
        if own - {generation}:
            return False
        self._wait_for_others(generation)
        return True

    def _wait_for_others(self, generation: int) -> None:
        """Wait for what other drivers run of earlier generations; what nobody runs is left out."""
        waiting = False
        while numbers := self._queue.unfinished_before(generation):
            fail_stale(self._study)
            orphans = [number for number in numbers if not has_heartbeat(self._study, number)]
            if orphans:
                self._queue.settle(orphans)
                _logger.warning(
                    "Generation %d begins without trials %s: they are RUNNING, but not in this "
                    "run, and nothing shows whether their workers live. If those were killed, "
                    "fail the trials with `study.tell(number, state=TrialState.FAIL)` or retry "
                    "them with `epbt_optuna.resume`.",
                    generation,
                    orphans,
                )
                continue
            if not waiting:
                waiting = True
                _logger.warning(
                    "Generation %d waits for trials %s, which run elsewhere.", generation, numbers
                )
            if time.monotonic() >= self._deadline:
                return
            with self._interrupts.let_through():
                time.sleep(_POLL_SECONDS)

    # Finishing

    def _finished(self) -> list[Future[Outcome]]:
        """Wait until a trial has finished; return all that have, by number."""
        interval = heartbeat_interval(self._study)
        done: set[Future[Outcome]] = set()
        while not done:
            with self._interrupts.let_through():
                done, _ = wait(self._running, interval, return_when=FIRST_COMPLETED)
            if interval is not None and time.monotonic() - self._last_look > interval:
                self._give_up_stale()
        return sorted(done, key=lambda future: self._running[future])

    def _give_up_stale(self) -> None:
        """Cut off the workers whose heartbeat has stopped: they may never come back.

        A trial that fails by itself is FAILED for a moment before its worker has said so. So only
        those are given up that are still running here, and were FAILED at the last look too.
        """
        fail_stale(self._study)
        storage = storage_of(self._study)
        ids = [trial_id for _, trial_id in self._running.values()]
        failed = {i for i in ids if storage.get_trial(i).state == TrialState.FAIL}
        for trial_id in failed & self._failed_at_last_look:
            self._engine.give_up(trial_id)
        self._failed_at_last_look = failed
        self._last_look = time.monotonic()

    def _finish(self, future: Future[Outcome]) -> BaseException | None:
        """Take note of a finished trial; return what it raised that the run is to end with."""
        number, trial_id = self._running.pop(future)
        # The future is done after the worker has told, or because it is gone: a trial that is not
        # finished by now has nobody left to finish it. (A worker beyond a broken network may live
        # after all; what it tells comes too late.)
        outcome = self._outcome(future)
        trial = storage_of(self._study).get_trial(trial_id)
        if not trial.state.is_finished():
            if outcome.left:
                self._lost.append(number)
            if outcome.failure is not None:
                note(self._study, trial, ERROR, outcome.failure)
            fail_lost_trial(self._study, trial_id)
            trial = storage_of(self._study).get_trial(trial_id)
        if trial.state == TrialState.FAIL:
            reason = outcome.failure or "It was finished from outside."
            _logger.warning("Trial %d failed: %s", number, reason.rstrip())
        self._stopped |= outcome.stopped
        error = outcome.error or self._deaths.count(outcome, self._engine.n_workers)
        self._progress.update(trial, self._queue.generation_of(number))
        if error is None:
            with self._interrupts.let_through():
                for callback in self._callbacks:
                    callback(self._study, copy.deepcopy(trial))
        return error

    def _outcome(self, future: Future[Outcome]) -> Outcome:
        # Not raised here: its traceback would hold this frame, and so itself and all that is open
        # of a dead process, until it is collected as garbage.
        error = future.exception()
        if isinstance(error, WorkerDied):
            return Outcome(failure=str(error), left=True)
        return future.result() if error is None else Outcome(failure=repr(error), error=error)

    # Ending

    def _drain(self) -> None:
        """Let what runs finish; only the first error is raised."""
        while self._running:
            for future in self._finished():
                try:
                    self._finish(future)
                except KeyboardInterrupt:  # noqa: PERF203, the others go on
                    raise
                except BaseException:  # a callback may well say sys.exit() each time
                    _logger.exception("While the run was ended:")

    def _cut_short(self) -> None:
        """End what runs after Ctrl-C; after a second one, at once."""
        if self._running:
            _logger.warning(
                "Interrupted: ending %d running trials. Once more to fail them at once.",
                len(self._running),
            )
        self._engine.interrupt()
        try:
            self._drain()
        except KeyboardInterrupt:
            self._engine.close()
            # Threads may still run these trials, and tell: they find them finished.
            for _, trial_id in self._running.values():
                fail_lost_trial(self._study, trial_id)
