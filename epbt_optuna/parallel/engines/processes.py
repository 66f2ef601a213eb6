"""Workers that are processes: for objectives that compute, and for one or more GPUs.

Each worker is a pool of its own with one process (the standard library's `ProcessPoolExecutor`,
spawned), and a thread that waits for it. So a process that dies takes nobody with it.

Three kinds of threads touch a `_Worker`. One thread of the engine at a time, which took it from
the queue of free ones, runs a trial in it; it alone starts the process and forgets it. The driver's
thread interrupts and cuts off, and a timer kills: these two only set `_closing` and send signals.
No lock is needed, by the order of two flags. `run` sets `_busy`, then looks at `_closing`, before
it hands the process a trial; `interrupt` and `cut_off` set `_closing`, then look at `_busy`. So
either `run` sees that it must not begin, or they see a trial and signal its process, which is known
by then. A signal never reaches a stranger: the number of a process that has ended is not used again
until somebody has waited for it, and after that `Process` sends none.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from types import FrameType
from typing import Any

import optuna
from optuna import Trial

from epbt_optuna._internal.optuna import trial_id_of
from epbt_optuna.parallel.devices import Slot, limit_threads, pin_to_device
from epbt_optuna.parallel.engines.pickling import loaded, packed, pickled, unpacked
from epbt_optuna.parallel.engines.protocol import EngineError, WorkerDied
from epbt_optuna.parallel.worker import Outcome, Work

__all__ = ["Processes"]

_MAX_STARTS = 3
_LOOK_SECONDS = 1.0
_GRACE_SECONDS = 10.0  # from Ctrl-C until a process that does not react is killed


class Processes:
    """The worker processes of one run.

    Raises:
        ValueError: The storage cannot be reached from another process.
        TypeError: Study or objective cannot be pickled.
        EngineError: A worker process could not be started.
    """

    def __init__(self, work: Work, slots: tuple[Slot, ...]) -> None:
        self.n_workers = len(slots)
        payload = pickled(work)
        self._workers = [_Worker(payload, slot) for slot in slots]
        self._free: SimpleQueue[_Worker] = SimpleQueue()
        self._threads = ThreadPoolExecutor(len(slots), "epbt-worker")
        try:
            list(self._threads.map(_Worker.start, self._workers))
        except BaseException:
            self.close()
            raise
        for worker in self._workers:
            self._free.put(worker)

    def submit(self, trial: Trial) -> Future[Outcome]:
        """Run a trial in a free process."""
        return self._threads.submit(self._run, trial_id_of(trial))

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the objectives; kill the processes that do not react."""
        for worker in self._workers:
            worker.interrupt()

    def close(self) -> None:
        """End the processes, killing those that still run a trial, and wait until they are gone."""
        for worker in self._workers:
            worker.cut_off()
        self._threads.shutdown()  # nobody waits for a process any more
        with ThreadPoolExecutor(self.n_workers) as pool:
            list(pool.map(_Worker.end, self._workers))

    def _run(self, trial_id: int) -> Outcome:
        worker = self._free.get()
        try:
            return worker.run(trial_id)
        finally:
            self._free.put(worker)


class _Worker:
    """One worker process, replaced when it dies."""

    def __init__(self, payload: bytes, slot: Slot) -> None:
        self._payload = payload
        self._slot = slot
        self._pool: ProcessPoolExecutor | None = None
        self._process: BaseProcess | None = None
        self._busy = False
        self._closing = False
        self._killer = threading.Timer(_GRACE_SECONDS, self._kill_if_busy)

    def start(self) -> None:
        """Start the process and wait until it has loaded study and objective."""
        for _ in range(_MAX_STARTS):
            if self._closing:
                raise WorkerDied("The run is being ended.")
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(1, context, _begin, (self._slot,))
            try:
                verbosity = optuna.logging.get_verbosity()
                pid = pool.submit(_load, self._payload, self._slot, verbosity).result()
            except BrokenProcessPool:
                pool.shutdown()
            except BaseException:
                pool.shutdown()
                raise
            else:
                children = multiprocessing.active_children()
                self._process = next((child for child in children if child.pid == pid), None)
                self._pool = pool
                return
        raise EngineError(
            f"A worker process died {_MAX_STARTS} times in a row before it could run a trial; "
            "the standard error stream may say why. A script must start the run under "
            "`if __name__ == '__main__':`, as worker processes import it. If it is for lack of "
            "memory, use fewer `workers`."
        )

    def run(self, trial_id: int) -> Outcome:
        """Run a trial in the process; if it died since the last one, in a new one."""
        self._busy = True
        try:
            return unpacked(self._awaited(self._submitted(trial_id)))
        except BrokenProcessPool:
            raise WorkerDied(f"Its worker process {self._how_it_died()}.") from None
        finally:
            self._busy = False

    def interrupt(self) -> None:
        """Interrupt the objective, and soon kill the process if that is to no avail."""
        self._closing = True
        process = self._process
        if self._busy and process is not None:
            process.terminate()
            self._killer.start()

    def cut_off(self) -> None:
        """Kill the process if it runs a trial."""
        self._closing = True
        self._killer.cancel()
        self._kill_if_busy()

    def end(self) -> None:
        """End the process, which runs nothing, and wait until it is gone."""
        if self._pool is not None:
            self._pool.shutdown()

    def _submitted(self, trial_id: int) -> Future[bytes]:
        while True:
            if self._pool is None:
                self.start()
            if self._closing:  # while it was started
                raise WorkerDied("The run is being ended.")
            assert self._pool is not None
            try:
                return self._pool.submit(_run, trial_id)
            except BrokenProcessPool:  # died between two trials: this one is not lost
                self._how_it_died()

    def _awaited(self, future: Future[bytes]) -> bytes:
        """Return the result, or raise that the process has died.

        The pool sees that at the end of a pipe, which children that the objective forked hold
        open for as long as they live: so look at the process as well.
        """
        while not wait([future], _LOOK_SECONDS).done:
            if self._process is not None and not self._process.is_alive():
                raise BrokenProcessPool
        return future.result()

    def _how_it_died(self) -> str:
        """Return how the process ended, and forget it."""
        pool, process = self._pool, self._process
        self._pool = self._process = None
        if pool is not None:
            # It waits until the process is gone; if that is known already, it would only wait for
            # children that the process forked.
            pool.shutdown(wait=process is None or process.exitcode is None)
        code = None if process is None else process.exitcode
        if code is None:
            return "died"
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"

    def _kill_if_busy(self) -> None:
        process = self._process
        if self._busy and process is not None:
            process.kill()


# In the worker process


class _Interruptible:
    """The objective, which SIGTERM interrupts; what comes after it, the telling, it does not.

    Python calls the handler in the main thread, which is the one that runs the objective, between
    two of its instructions. A signal that comes before the objective is remembered for it.
    """

    def __init__(self) -> None:
        self.objective: Any = None
        self._running = False
        self._interrupted = False

    def __call__(self, trial: Trial) -> Any:
        try:
            self._running = True
            if self._interrupted:
                raise KeyboardInterrupt
            return self.objective(trial)
        finally:
            self._running = False

    def interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        self._interrupted = True
        if self._running:
            raise KeyboardInterrupt


_interruptible = _Interruptible()
_work: Work


def _begin(slot: Slot) -> None:
    """Prepare the process before it imports anything of the user's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the driver decides
    signal.signal(signal.SIGTERM, _interruptible.interrupt)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    limit_threads(slot)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _load(payload: bytes, slot: Slot, verbosity: int) -> int:
    """Load what the run's trials have in common, and return this process's id."""
    global _work
    optuna.logging.set_verbosity(verbosity)
    pin_to_device(slot)
    work = loaded(payload)
    _interruptible.objective = work.objective
    _work = replace(work, objective=_interruptible)
    return os.getpid()


def _run(trial_id: int) -> bytes:
    return packed(_work.run(trial_id))
