"""The thread beside training: takes numbers of finished trials, delivers, tries again, ends well.

A thread, since MLflow's client costs training less than 3 % of trials of one second (benchmark
`tracking`), and a thread needs no other way to the study than training has, be it in memory.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, Full, Queue

from optuna import Study
from tqdm import tqdm

from epbt_optuna.tracking.delivery import Delivery
from epbt_optuna.tracking.destination import Destination, TrackingError, describe, is_temporary

__all__ = ["Worker"]

_QUEUE_SIZE = 10_000
_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_PATIENCE_SECONDS = 5.0  # with a server that is down, once training has ended
_EXIT_SECONDS = 60.0  # for what is left at the end of the interpreter
_TRIES = 3  # of one trial, where the server answers everything else
_WARNINGS = 5  # about single trials
_REST_SHARE = 2.0  # seconds for each second of delivery: its commits delay those of training
_LONGEST_REST_SECONDS = 1.0
_ENVIRONMENT = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Tries again are ours: MLflow's take minutes, and repeat a request that may have been obeyed.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""Read by MLflow at each request, and only from there; what the user has set stays."""

_logger = logging.getLogger("epbt_optuna.tracking")


class _GaveUpError(Exception):
    """Training has ended, and the server is still down."""


class Worker:
    """Delivers one study from a thread of its own, until it is closed.

    What training and the thread share is a queue, two events, and counters that one of them writes
    and the other only shows.

    Args:
        study: The study.
        destination: Where to.
        everything: Whether what other processes have just finished is delivered too.
    """

    def __init__(self, study: Study, destination: Destination, *, everything: bool = False) -> None:
        self.last_warning = ""
        self._study = study
        self._destination = destination
        self._everything = everything
        self._queue: Queue[int | None] = Queue(_QUEUE_SIZE)
        self._training_ended = threading.Event()
        self._ended_at = float("inf")
        self._done = threading.Event()
        self._n_handed_over = 0
        self._n_delivered = 0
        self._refused: set[int] = set()
        self._is_down = False
        self._has_failed = False
        self._delivery: Delivery
        self._pid = os.getpid()
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self._thread = threading.Thread(target=self._run, name="epbt-mlflow", daemon=True)
        self._thread.start()
        atexit.register(self._close_at_exit)

    def hand_over(self, number: int) -> None:
        """Leave a finished trial to the thread; returns at once."""
        self._n_handed_over += 1
        try:
            self._queue.put_nowait(number)
        except Full:
            # The last pass then asks for every trial that is missing, ours or not: which of them
            # were dropped is not remembered, or memory would grow.
            self._everything = True

    def close(self, seconds: float | None = None) -> bool:
        """Wait until all is delivered; return whether it was.

        Where the server is down the thread gives up after a few seconds, and has said so.

        Args:
            seconds: How long to wait; then a warning says how many trials are left. Default: as
                long as it takes, with a progress bar on a terminal.
        """
        if self._pid != os.getpid():  # a fork's copy: the thread is its parent's
            return True
        atexit.unregister(self._close_at_exit)
        self._ended_at = time.monotonic()
        self._training_ended.set()
        with suppress(Full):  # then the thread does not wait for anything to come
            self._queue.put_nowait(None)
        if seconds is None:
            self._show_progress()
        elif not self._done.wait(seconds):
            self._warn(f"There was no time to bring everything to MLflow: {self._left()}")
            return False
        return not self._has_failed and not self._refused

    def _close_at_exit(self) -> None:
        self.close(_EXIT_SECONDS)

    def _show_progress(self) -> None:
        form = "delivering {n_fmt} of {total_fmt} trials to MLflow |{bar}| {remaining}"
        with tqdm(bar_format=form, disable=None, total=0, leave=False) as bar:
            is_done = False
            while not is_done:
                is_done = self._done.wait(0.1)
                bar.total, bar.n = self._n_handed_over, self._n_delivered
                bar.refresh()

    # On the thread

    def _run(self) -> None:
        try:
            if self._open():
                self._work()
        except _GaveUpError:
            self._has_failed = True
            self._warn(f"MLflow at {self._destination.where} is still down: {self._left()}")
        except BaseException as error:  # a bug; nothing is above a thread that could report it
            self._has_failed = True
            self._warn(f"Delivery to MLflow has ended: {describe(error)}. {self._left()}")
        finally:
            self._done.set()

    def _open(self) -> bool:
        def open_() -> None:
            self._delivery = Delivery(self._study, self._destination)
            self._delivery.begin()

        return self._try("study", lambda _: open_())

    def _work(self) -> None:
        if not self._everything:  # else all comes at the end
            self._bring_missing(set())
        while (number := self._next()) is not None:
            start = time.monotonic()
            self._deliver(number)
            self._try("generation", lambda _, n=number: self._delivery.end_generation(n))
            # Training waits for the same disk, and for Python's lock.
            rest = min(_REST_SHARE * (time.monotonic() - start), _LONGEST_REST_SECONDS)
            self._training_ended.wait(rest)
        self._bring_missing(self._rest_of_queue())
        self._try("generations", lambda _: self._delivery.bring_generations())
        self._try("pictures", lambda _: self._delivery.draw())
        self._try("end", lambda _: self._delivery.end())
        if self._refused:
            self._warn(f"MLflow refused {len(self._refused)} trials. {self._left()}")
        _logger.info(
            "%d trials of study %r are in MLflow: %s",
            self._n_delivered,
            self._study.study_name,
            self._delivery.experiment.address,
        )

    def _next(self) -> int | None:
        """Wait for the next trial; None at the end of training.

        What is in the queue then is not delivered one by one, but by one look at what is missing.
        """
        return None if self._training_ended.is_set() else self._queue.get()

    def _rest_of_queue(self) -> set[int]:
        numbers: set[int] = set()
        with suppress(Empty):
            while True:
                number = self._queue.get_nowait()
                if number is not None:
                    numbers.add(number)
        return numbers

    def _bring_missing(self, ours: set[int]) -> None:
        """Make the runs what the study says: none missing, none twice, all with their parents."""
        missing: list[int] = []

        def look() -> None:
            found = self._delivery.missing(ours, everything=self._everything)
            missing[:] = [number for number in found if number not in self._refused]

        while self._try("runs", lambda _: look()) and missing:
            n_queued = len(ours.intersection(missing))
            self._n_handed_over += len(missing) - n_queued
            for number in missing:
                self._deliver(number)
            ours = set()
        self._try("links", lambda _: self._delivery.link())

    def _deliver(self, number: int) -> None:
        if self._try(
            f"trial {number}",
            lambda is_first: self._delivery.deliver(number, is_first_try=is_first),
        ):
            self._n_delivered += 1
        else:
            self._refused.add(number)

    def _try(self, what: str, step: Callable[[bool], None]) -> bool:
        """Do one step, again and again while the server is down; return whether it was done.

        Args:
            what: Names the step in a warning.
            step: Is told whether this is the first try.
        """
        n_failures, failing_since = 0, 0.0
        while True:
            try:
                step(n_failures == 0)
            except Exception as error:  # noqa: PERF203, to try again is the point
                n_failures += 1
                if n_failures == 1:
                    failing_since = time.monotonic()
                if not self._is_worth_another_try(error, n_failures):
                    self._refuse(what, error)
                    return False
                self._pause(error, n_failures, failing_since)
            else:
                if self._is_down:
                    self._is_down = False
                    _logger.info("MLflow at %s works again.", self._destination.where)
                return True

    def _is_worth_another_try(self, error: Exception, n_failures: int) -> bool:
        is_open = hasattr(self, "_delivery")
        if is_temporary(error):
            # A server may also fail over one thing that it is sent, each time again.
            return n_failures < _TRIES or not (is_open and self._delivery.answers())
        # Another process may have deleted this run, as one too many; to look again shows it. A bug,
        # and a package that is missing, have no code of MLflow's, and stay what they are.
        return is_open and n_failures == 1 and hasattr(error, "error_code")

    def _pause(self, error: Exception, n_failures: int, failing_since: float) -> None:
        """Wait before the next try; not for long once training has ended."""
        if n_failures > 1 and not self._is_down and is_temporary(error):  # once is no outage
            self._is_down = True
            self._warn(
                f"MLflow at {self._destination.where} cannot be reached: {describe(error)}. "
                "Training goes on, and what it brings is delivered as soon as that works."
            )
        pause = _PAUSES[min(n_failures, len(_PAUSES)) - 1]
        if self._training_ended.wait(pause):
            if time.monotonic() - max(failing_since, self._ended_at) > _PATIENCE_SECONDS:
                raise _GaveUpError
            time.sleep(min(pause, 1.0))

    def _refuse(self, what: str, error: Exception) -> None:
        self._has_failed = True
        if isinstance(error, TrackingError):
            self._warn(str(error))
        elif len(self._refused) < _WARNINGS:
            self._warn(
                f"The {what} of study {self._study.study_name!r} cannot be brought to MLflow at "
                f"{self._destination.where}: {describe(error)}. Training goes on, and so does the "
                "rest."
            )

    def _left(self) -> str:
        n_left = self._n_handed_over - self._n_delivered
        return (
            f"{n_left} trials are left; `MLflowTracker.sync(study)` or `epbt sync` delivers them."
        )

    def _warn(self, text: str) -> None:
        self.last_warning = text
        _logger.warning(text)
