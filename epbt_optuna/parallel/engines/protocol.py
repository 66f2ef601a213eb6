"""What the driver needs of an engine, whatever its workers are: threads, processes, a cluster."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

from optuna import Trial

from epbt_optuna.parallel.worker import Outcome

__all__ = ["Engine", "EngineError", "WorkerDied"]


class WorkerDied(Exception):  # noqa: N818, an event, not a mistake
    """A worker died while it ran a trial: the trial is lost, the run goes on."""


class EngineError(RuntimeError):
    """No worker can be had any more: the run ends."""


class Engine(Protocol):
    """Workers that run trials, each pinned to a device.

    An engine is made of a `Work` and of what says which workers there are to be, and raises then,
    before the first trial, if its workers cannot be had or cannot reach what they need.
    """

    @property
    def n_workers(self) -> int:
        """How many trials can run at a time."""

    def submit(self, trial: Trial) -> Future[Outcome]:
        """Let a free worker run a trial that the driver asked.

        The driver never has more than `n_workers` trials running. It does not cancel futures, and
        it does not touch the trial again: a worker in this process may have it, one in another
        process makes its own of the trial's id.

        Returns:
            The future of what `Work.run` returns, done when the trial has been told. What the
            objective raised is part of the outcome. The future itself raises `WorkerDied` if the
            worker did not come to tell, and `EngineError` if it could not be replaced either.
        """

    def give_up(self, trial_id: int) -> None:
        """Cut off a running trial, if that is possible: its future then raises `WorkerDied`."""

    def interrupt(self) -> None:
        """Ask what runs to end soon; all futures still come to be done.

        An engine that cannot interrupt an objective lets it finish.
        """

    def close(self) -> None:
        """End the workers, and cut off what still runs where that is possible.

        After a second Ctrl-C it is called twice.
        """
