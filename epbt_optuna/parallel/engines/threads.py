"""Workers that are threads: for objectives that wait, or compute outside of Python's lock."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

from epbt_optuna.parallel.devices import Slot, occupy
from epbt_optuna.parallel.worker import Outcome, Work

__all__ = ["Threads"]


class Threads:
    """The threads of one run; they share the study, so any storage will do."""

    def __init__(self, work: Work, slots: tuple[Slot, ...]) -> None:
        self.n_workers = len(slots)
        self._work = work
        vacant: SimpleQueue[Slot] = SimpleQueue()
        for slot in slots:
            vacant.put(slot)
        self._pool = ThreadPoolExecutor(
            len(slots), "epbt-worker", initializer=lambda: occupy(vacant.get())
        )

    def submit(self, trial_id: int) -> Future[Outcome]:
        """Run a trial in a free thread."""
        return self._pool.submit(self._work.run, trial_id)

    def interrupt(self) -> None:
        """Let what runs finish: nobody can interrupt a thread."""

    def close(self) -> None:
        """Let the threads end, each when it has finished what it runs."""
        self._pool.shutdown(wait=False)
