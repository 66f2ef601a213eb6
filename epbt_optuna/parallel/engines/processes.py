"""Workers that are processes: for objectives that compute, and for one or more GPUs.

Each worker has a process, spawned or forked, with a pipe of its own, and a thread of the driver's
that waits for it. So a process that dies takes nobody with it.

Three kinds of threads touch a `_Worker`. One thread of the engine at a time, which took it from
the queue of free ones, runs a trial in it; it alone starts the process and forgets it. The driver's
thread interrupts and cuts off, and a timer kills: these two only set `_closing`, say None to the
process and send it signals. No lock is needed, by the order of what is written and read. `start`
notes the process, then looks at `_closing`; `run` notes the trial, then looks at `_closing`, before
it hands the trial to the process; `interrupt` and `cut_off` set `_closing`, then look at process
and trial. So either the worker's thread sees that it must not begin, or they see what it has begun
and end that. A signal never reaches another process: the number of one that has ended is not used
again until somebody has waited for it, and after that `Process` sends none.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from multiprocessing.spawn import get_preparation_data
from queue import SimpleQueue
from typing import TypeVar

from optuna import Trial

from epbt_optuna._internal.optuna import trial_id_of
from epbt_optuna.parallel.devices import Slot
from epbt_optuna.parallel.engines.child import Child, ChildEnded
from epbt_optuna.parallel.engines.fork_server import ForkServer
from epbt_optuna.parallel.engines.pickling import pickled, unpacked
from epbt_optuna.parallel.engines.protocol import EngineError, WorkerDied
from epbt_optuna.parallel.worker import Outcome, Work

__all__ = ["Processes", "check_not_imported"]

_T = TypeVar("_T")

_MAX_STARTS = 3
_MAX_FAILURES = 2  # in a row, before a process is replaced
_GRACE_SECONDS = 10.0  # from Ctrl-C until a process that does not react is killed
_NAME = "epbt-worker"
_NO_GUARD = 64  # the exit code of a worker process that was about to start a run: "usage"
_GUARD = (
    "A worker process imports this script, which starts a run of its own. Put the call of "
    "`optimize` under `if __name__ == '__main__':`."
)


def check_not_imported() -> None:
    """Refuse to go on where a spawned process imports the script that started it.

    A worker's driver is told by the exit code, so that it can say so, once for all workers.

    Raises:
        RuntimeError: It does.
    """
    process = multiprocessing.current_process()
    if getattr(process, "_inheriting", False):
        if process.name.startswith(_NAME):
            sys.exit(_NO_GUARD)
        raise RuntimeError(_GUARD)


class Processes:
    """The worker processes of one run.

    Args:
        work: What they have in common.
        slots: One for each.
        show_start: Called with how many are ready and how many there are, at once and as they come.
        forks: Whether a server forks them; else, or where it cannot, they are spawned.

    Raises:
        ValueError: The storage cannot be reached from another process.
        TypeError: Study or objective cannot be pickled.
        RuntimeError: Worker processes cannot import the script that this one runs.
        EngineError: A worker process could not be started.
    """

    def __init__(
        self,
        work: Work,
        slots: tuple[Slot, ...],
        show_start: Callable[[int, int], None],
        *,
        forks: bool,
    ) -> None:
        _check_main()
        self.n_workers = len(slots)
        payload = pickled(work)
        show_start(0, len(slots))
        self._fork_server = ForkServer(slots[0]) if forks else None
        self._workers = [_Worker(payload, slot, self._fork_server) for slot in slots]
        self._have_started = False
        self._free: SimpleQueue[_Worker] = SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)
        self._threads = ThreadPoolExecutor(len(slots), _NAME)
        try:
            # As many as there are workers, and the queue is in order: each starts another one.
            starts = [self._threads.submit(self._lent, _Worker.start) for _ in slots]
            for n_started, start in enumerate(as_completed(starts), start=1):
                start.result()
                show_start(n_started, len(slots))
            self._have_started = True
        except BaseException:
            self.close()
            raise

    def submit(self, trial: Trial) -> Future[Outcome]:
        """Run a trial in a free process."""
        trial_id = trial_id_of(trial)
        return self._threads.submit(self._lent, lambda worker: worker.run(trial_id))

    def give_up(self, trial_id: int) -> None:
        """Kill the process that runs a trial."""
        # The driver submits nothing meanwhile, so the worker cannot have gone on to another trial.
        for worker in self._workers:
            worker.give_up(trial_id)

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the objectives; kill the processes that do not react."""
        for worker in self._workers:
            worker.interrupt()

    def close(self) -> None:
        """End the processes, killing those that still run a trial, and wait until they are gone."""
        workers, self._workers = self._workers, []  # a second call has nothing left to end
        for worker in workers:
            worker.cut_off()
        if self._fork_server is not None and not self._have_started:
            self._fork_server.end()  # some may wait for it
        # In the engine's threads, each as soon as a worker is free, and not given back: what is cut
        # off has an end, and is free then.
        ends = [self._threads.submit(lambda: self._free.get().end()) for _ in workers]
        for end in ends:
            end.result()
        self._threads.shutdown()
        if self._fork_server is not None:
            self._fork_server.end()

    def _lent(self, action: Callable[[_Worker], _T]) -> _T:
        worker = self._free.get()
        try:
            return action(worker)
        finally:
            self._free.put(worker)


class _Worker:
    """One worker, whose process is replaced when it dies or should not go on."""

    def __init__(self, payload: bytes, slot: Slot, fork_server: ForkServer | None) -> None:
        self._payload = payload
        self._slot = slot
        self._fork_server = fork_server
        self._child: Child | None = None
        self._trial_id: int | None = None
        self._closing = False
        self._n_failures = 0
        self._killer = threading.Timer(_GRACE_SECONDS, self._kill_if_busy)

    def start(self) -> None:
        """Start the process and wait until it has loaded study and objective."""
        for _ in range(_MAX_STARTS):
            name = f"{_NAME}-{self._slot.index}"
            self._child = child = Child(name, self._slot, self._fork_server)
            if self._closing:
                child.kill()
            try:
                answer = child.load(self._payload)
            except ChildEnded as end:
                self._child = None
                if self._closing:
                    raise WorkerDied("The run is being ended.") from None
                if not end.had_begun:
                    _check_import(end)
                reason = str(end)
            else:
                error = unpacked(answer.outcome).error
                if error is not None:
                    raise error
                self._n_failures = 0
                return
        raise EngineError(
            f"A worker process died {_MAX_STARTS} times in a row before it could run a trial; the "
            f"last one {reason}. The standard error stream may say why. If it is for lack of "
            "memory, use fewer `workers`."
        )

    def run(self, trial_id: int) -> Outcome:
        """Run a trial in the process, or in a new one if it is not to go on, or died."""
        self._trial_id = trial_id
        try:
            if self._child is None or not self._child.goes_on():
                self.end()
                self.start()
            assert self._child is not None
            if self._closing:
                raise WorkerDied("The run is being ended.")
            answer = self._child.ask(trial_id)
        except ChildEnded as end:
            self._child = None
            raise WorkerDied(f"Its worker process {end}.") from None
        finally:
            self._trial_id = None
        outcome = unpacked(answer.outcome)
        self._n_failures = 0 if outcome.failure is None else self._n_failures + 1
        if outcome.left or not answer.sound or self._n_failures == _MAX_FAILURES:
            self._child.end_soon()
        return outcome

    def give_up(self, trial_id: int) -> None:
        """Kill the process if it runs this trial."""
        if self._trial_id == trial_id:
            self._kill_if_busy()

    def interrupt(self) -> None:
        """Interrupt the objective, and soon kill the process if that is to no avail."""
        self._closing = True
        child = self._child
        if child is not None and not child.has_loaded:
            child.kill()
        elif child is not None and self._trial_id is not None:
            child.interrupt()
            self._killer.start()

    def cut_off(self) -> None:
        """Kill the process if it is being started or runs a trial."""
        self._closing = True
        self._killer.cancel()
        child = self._child
        if child is not None and not child.has_loaded:
            child.kill()
        self._kill_if_busy()

    def end(self) -> None:
        """End the process, which runs nothing, and wait until it is gone."""
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def _kill_if_busy(self) -> None:
        child = self._child
        if self._trial_id is not None and child is not None:
            child.kill()


def _check_main() -> None:
    """Raise unless worker processes can import the script that this process runs."""
    path = get_preparation_data("").get("init_main_from_path")
    if path is None or os.path.exists(path) or os.path.basename(path) == "ipython":
        return  # notebooks, `python -c` and `python -m` have none: the objective is sent by value
    raise RuntimeError(
        f"Worker processes import the script that starts the run but {os.path.basename(path)!r} is "
        "no file that they can read. Save the script to a file and run that, or use "
        "engine='thread'."
    )


def _check_import(end: ChildEnded) -> None:
    """Raise where trying again is to no avail: Python itself ended while it imported the script."""
    if end.code == _NO_GUARD:
        raise RuntimeError(_GUARD)
    if end.code is not None and end.code >= 0:
        raise EngineError(
            f"A worker process {end} while it imported this script; the standard error stream says "
            "why. Whatever is not for worker processes, such as creating the study, belongs under "
            "`if __name__ == '__main__':`."
        )
