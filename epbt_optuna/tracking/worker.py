"""The thread beside training: takes numbers of finished trials, delivers, tries again, ends well.

A thread, since MLflow's client took 13 (server) to 33 ms (SQLite) of Python a trial, which is
little of a trial of one second, and since a thread reads the study as training does, be it in
memory.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Full, Queue

from optuna import Study
from optuna.exceptions import StorageInternalError
from optuna.storages import InMemoryStorage
from sqlalchemy.exc import OperationalError
from tqdm import tqdm

from epbt_optuna._internal.optuna import check_threads_see, storage_of
from epbt_optuna._internal.text import get_logger, without_passwords
from epbt_optuna.tracking.delivery import Delivery
from epbt_optuna.tracking.destination import Destination
from epbt_optuna.tracking.experiment import TrackingError

__all__ = ["Worker"]

_QUEUE_SIZE = 10_000
_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_PATIENCE_SECONDS = 5.0  # with a server that is down, once training has ended
_EXIT_SECONDS = 60.0  # for what is left at the end of the interpreter
_TRIES = 3  # of one thing, where the server answers to others
_MOST_WARNINGS = 5  # about single things
_REST_SHARE = 2.0  # seconds for each second of delivery: training waits for the same disk and lock
_LONGEST_REST_SECONDS = 1.0
_ENVIRONMENT = {  # MLflow reads it at each request, and has no other way to be told
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Retries are ours: MLflow's take minutes, and repeat a request that may have been obeyed.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}

_TEMPORARY = (  # MLflow's codes for errors that pass
    "ABORTED", "DEADLINE_EXCEEDED", "INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED",
    "RESOURCE_CONFLICT", "TEMPORARILY_UNAVAILABLE",
)  # fmt: skip

_logger = get_logger("epbt_optuna.tracking")


class _Environment:
    """MLflow's variables in the environment, as long as any thread delivers; the user's stay."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_threads = 0
        self._ours: dict[str, str] = {}

    def __enter__(self) -> None:
        with self._lock:
            self._n_threads += 1
            ours = {name: v for name, v in _ENVIRONMENT.items() if name not in os.environ}
            self._ours |= ours
            os.environ.update(ours)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_threads -= 1
            while self._ours and not self._n_threads:
                name, value = self._ours.popitem()
                if os.environ.get(name) == value:
                    del os.environ[name]


_environment = _Environment()


class _GaveUpError(Exception):
    """Training has ended, and the server is still down."""


class Worker:
    """Delivers one study from a thread of its own, until it is closed.

    Training and the thread share a queue, two events, what one of them sets and the other only
    reads, and counts of trials. Two that count at one moment may lose one: counts are for people,
    and decide nothing. With `everything`, what others have just finished is delivered too.
    """

    def __init__(self, study: Study, destination: Destination, *, everything: bool = False) -> None:
        check_threads_see(study)
        self.address = self.run_id = ""  # of the parent run; the thread finds it
        self.last_warning = ""
        self._study = study
        self._destination = destination
        self._everything = everything or isinstance(storage_of(study), InMemoryStorage)
        self._queue: Queue[int | None] = Queue(_QUEUE_SIZE)
        self._training_ended = threading.Event()
        self._ended_at = float("inf")
        self._done = threading.Event()
        self._n_known = self._n_delivered = self._n_warnings = 0
        self._refused: set[int] = set()
        self._is_down = False
        self._delivery: Delivery
        self._pid = os.getpid()
        threading.Thread(target=self._run, name="epbt-mlflow", daemon=True).start()
        atexit.register(self.close, _EXIT_SECONDS)

    def hand_over(self, number: int) -> None:
        """Leave a finished trial to the thread; returns at once."""
        self._n_known += 1
        try:
            self._queue.put_nowait(number)
        except Full:
            # Which ones were dropped is not remembered, or memory would grow: the last pass then
            # delivers every trial that is missing, whoever ran it.
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
        atexit.unregister(self.close)
        self._ended_at = time.monotonic()
        self._training_ended.set()
        with suppress(Full):  # then the thread is not waiting for anything to come
            self._queue.put_nowait(None)
        if seconds is None:
            form = "delivering {n_fmt} of {total_fmt} trials to MLflow |{bar}| {remaining}"
            # None is "where it is a terminal"; a program may have no such stream at all.
            disable = None if sys.stderr is not None else True
            with tqdm(bar_format=form, disable=disable, total=self._n_known, leave=False) as bar:
                while not self._done.wait(0.1):
                    bar.total, bar.n = self._n_known, self._n_delivered
                    bar.refresh()
        elif not self._done.wait(seconds):
            self._warn(f"There was no time to bring everything to MLflow: {self._left()}")
        return self._done.is_set() and not self.last_warning

    # On the thread

    def _run(self) -> None:
        try:
            with _environment:
                if self._try("parent run", lambda _: self._open()):
                    self._work()
        except _GaveUpError as end:
            self._warn(f"{self._who(end.__cause__)} is still down: {self._left()}")
        except BaseException as error:  # a bug; nothing above a thread would report it
            self._warn(f"Delivery to MLflow has ended: {_describe(error)}. {self._left()}")
        finally:
            self._done.set()

    def _open(self) -> None:
        self._delivery = Delivery(self._study, self._destination)
        self.address = self._delivery.experiment.address
        self.run_id = self._delivery.experiment.parent
        _logger.info(f"{self._study.study_name!r} is brought to MLflow: {self.address}")

    def _work(self) -> None:
        delivery = self._delivery
        if not self._everything:  # else all comes at the end
            self._bring_missing(set())
        while not self._training_ended.is_set() and (number := self._queue.get()) is not None:
            start = time.monotonic()
            self._deliver(number)
            self._try("generation", lambda _, n=number: delivery.parent.end_generation(n))  # type: ignore[misc]
            rest = _REST_SHARE * (time.monotonic() - start)
            self._training_ended.wait(min(rest, _LONGEST_REST_SECONDS))
        # The rest of the queue is not looked for one by one, but by one look at what is missing.
        ours: set[int] = set()
        while not self._queue.empty():  # nobody else takes from it
            ours.add(-1 if (number := self._queue.get()) is None else number)
        self._bring_missing(ours)
        self._try("generations", lambda _: delivery.parent.bring_generations())
        self._try("pictures", lambda _: delivery.parent.draw())
        self._try("end", lambda _: delivery.parent.end())
        of = f"{self._n_delivered} trials of {self._study.study_name!r}"
        _logger.info(f"{of} are in MLflow: {self.address}")

    def _bring_missing(self, ours: set[int]) -> None:
        """Make the runs what the study says: none missing, none twice, all with their parents."""
        missing: set[int] = set()

        def look(_: bool) -> None:
            found = self._delivery.missing(ours, everything=self._everything)
            missing.clear()
            missing.update({*found} - self._refused)

        while self._try("list of runs", look) and missing:
            self._n_known += len(missing - ours)
            for number in sorted(missing):
                self._deliver(number, is_listed=True)
        self._try("links", lambda _: self._delivery.link())

    def _deliver(self, number: int, *, is_listed: bool = False) -> None:
        def deliver(is_first: bool) -> None:
            self._delivery.deliver(number, is_first_try=is_first, is_listed=is_listed)

        if self._try(f"trial {number}", deliver):
            self._n_delivered += 1
        else:
            self._refused.add(number)

    def _try(self, what: str, step: Callable[[bool], None]) -> bool:
        """Do one step, again and again while the server is down; return whether it was done.

        Args:
            what: Names the step in a warning.
            step: Is told whether this is the first try.
        """
        n_failures, failing_since = 0, float("inf")
        while True:
            try:
                step(n_failures == 0)
            except Exception as error:  # noqa: PERF203, to try again is the point
                n_failures += 1
                failing_since = min(failing_since, time.monotonic())  # a step may take long itself
                if not self._is_to_be_retried(error, n_failures):
                    self._refuse(what, error)
                    return False
                if n_failures > 1 and not self._is_down and not self._answers():  # once is none
                    self._is_down = True
                    _logger.warning(
                        f"{self._who(error)} cannot be reached: {_describe(error)}. Training goes "
                        "on, and what it brings is delivered as soon as that works."
                    )
                pause = _PAUSES[min(n_failures, len(_PAUSES)) - 1]
                if self._training_ended.wait(pause):  # then patience is short
                    failing = time.monotonic() - max(failing_since, self._ended_at)
                    if failing > _PATIENCE_SECONDS and not self._answers():
                        raise _GaveUpError from error
                    time.sleep(min(pause, 1.0))
            else:
                if self._is_down:
                    _logger.info("MLflow at %s works again.", self._destination.where)
                self._is_down = False
                return True

    def _is_to_be_retried(self, error: Exception, n_failures: int) -> bool:
        if _is_temporary(error):  # but a server may also fail over one thing, each time again
            return n_failures < _TRIES or not self._answers()
        # Another process may have deleted this run, as one too many: the second try looks. A bug,
        # and a package that is missing, have no code of MLflow's, and stay what they are.
        return n_failures == 1 and hasattr(error, "error_code") and hasattr(self, "_delivery")

    def _answers(self) -> bool:
        return hasattr(self, "_delivery") and self._delivery.experiment.answers()

    def _refuse(self, what: str, error: Exception) -> None:
        self._n_warnings += 1
        if isinstance(error, TrackingError):
            self._warn(str(error))
        elif self._n_warnings <= _MOST_WARNINGS:
            self._warn(
                f"The {what} of study {self._study.study_name!r} cannot be brought to MLflow at "
                f"{self._destination.where}: {_describe(error)}. All else goes on. When that is "
                "mended, `MLflowTracker.sync(study)` or `epbt sync` brings it."
            )

    def _who(self, error: BaseException | None) -> str:
        if isinstance(error, StorageInternalError):  # Optuna's
            return f"The storage of study {self._study.study_name!r}"
        return f"MLflow at {self._destination.where}"

    def _left(self) -> str:
        n_left = self._n_known - self._n_delivered
        return (
            f"{n_left} trials are left; `MLflowTracker.sync(study)` or `epbt sync` delivers them."
        )

    def _warn(self, text: str) -> None:
        self.last_warning = text
        _logger.warning(text)


def _is_temporary(error: BaseException) -> bool:
    """Tell whether an error says that a server is down, and not that it refuses."""
    code = getattr(error, "error_code", None)  # of MLflow's errors
    if code is None:
        return isinstance(error, OSError | OperationalError | StorageInternalError)
    return code in _TEMPORARY


def _describe(error: BaseException) -> str:
    text = without_passwords(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text[:300]}{'…' if len(text) > 300 else ''}"
