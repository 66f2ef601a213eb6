"""Workers that are threads: for objectives that wait, or compute outside of Python's lock."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

from optuna import Trial

from epbt_optuna._internal.optuna import check_threads_see
from epbt_optuna.parallel.devices import Slot, pin_to_device
from epbt_optuna.parallel.worker import Outcome, Work

__all__ = ["Threads"]


class Threads:
    """The threads of one run; they share the study.

    Raises:
        ValueError: Each thread would see another one: SQLite's databases in memory.
    """

    def __init__(self, work: Work, slots: tuple[Slot, ...]) -> None:
        check_threads_see(work.study)
        self.n_workers = len(slots)
        self._work = work
        unused: SimpleQueue[Slot] = SimpleQueue()
        for slot in slots:
            unused.put(slot)
        self._pool = ThreadPoolExecutor(
            len(slots), "epbt-worker", initializer=lambda: pin_to_device(unused.get())
        )

    def submit(self, trial: Trial) -> Future[Outcome]:
        """Run a trial in a free thread.

        It is the very object that the driver asked. No lock guards it and none is needed: the
        driver does not touch it again, and the pool's queue orders what it wrote before what the
        thread reads.
        """
        return self._pool.submit(self._work.run, trial)

    def give_up(self, trial_id: int) -> None:
        """Let it run: nobody can kill a thread."""

    def interrupt(self) -> None:
        """Let what runs finish: nobody can interrupt a thread."""

    def close(self) -> None:
        """Let the threads end, each when it has finished what it runs."""
        self._pool.shutdown(wait=False)
