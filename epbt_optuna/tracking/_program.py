"""The courier's own process: take what comes, deliver it, try again, end well.

    python -m epbt_optuna.tracking._program FOLDER

FOLDER has the spool, whose first item is the address. It ends when the spool or training does, with
status 0 if everything was delivered; what there is to say goes to the standard output.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from optuna.trial import FrozenTrial

from epbt_optuna.tracking._courier import END, INCOMPLETE, TrackingError
from epbt_optuna.tracking._delivery import Delivery
from epbt_optuna.tracking._source import Source
from epbt_optuna.tracking._spool import Address, SpoolReader

__all__ = ["Program"]

_POLL_SECONDS = 0.2
_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_PATIENCE_SECONDS = 5.0  # with a server that is down, once training has ended
_NICENESS = 5
_REST_SHARE = 2.0  # seconds for each second of delivery: its commits delay those of training
_LONGEST_REST_SECONDS = 1.0
_TEMPORARY = {
    "ABORTED",
    "DEADLINE_EXCEEDED",
    "INTERNAL_ERROR",
    "REQUEST_LIMIT_EXCEEDED",
    "RESOURCE_CONFLICT",
    "TEMPORARILY_UNAVAILABLE",
}
"""MLflow's codes for errors that pass; the first one's text is for the user."""


class _GaveUpError(Exception):
    """Training has ended, and the server is still down."""


class Program:
    """Delivers what one spool holds.

    Args:
        folder: Where the spool is.
        say: Is told a level, `"warning"` or `"info"`, and a text.
    """

    def __init__(self, folder: Path, say: Callable[[str, str], None]) -> None:
        self._reader = SpoolReader(folder / "spool")
        address = self._reader.next()
        assert isinstance(address, Address)
        self._address = address
        self._say = say
        self._source = Source(address)
        self._delivery: Delivery
        self._training_ended = threading.Event()
        self._ended_at = math.inf
        self._n_refused = 0

    def run(self) -> int:
        """Deliver until the end of the spool; return the exit status."""
        try:
            self._until_it_works(self._open)
            self._unless_refused(lambda _: self._delivery.catch_up())
            while (trial := self._next_trial()) is not None:
                start = time.monotonic()
                self._deliver(trial)
                self._rest(time.monotonic() - start)
            self._unless_refused(lambda _: self._delivery.finish())
        except _GaveUpError:
            return INCOMPLETE
        return INCOMPLETE if self._n_refused else 0

    def end_of_training(self) -> None:
        """Take note that no more trials will come."""
        self._ended_at = time.monotonic()
        self._training_ended.set()

    def _next_trial(self) -> FrozenTrial | None:
        """Wait for the next trial; None at the end."""
        while True:
            has_ended = self._training_ended.is_set()  # before looking: what came first is found
            item = self._reader.next()
            if isinstance(item, FrozenTrial):
                return item
            if item == END or has_ended:
                return None
            self._training_ended.wait(_POLL_SECONDS)

    def _rest(self, worked: float) -> None:
        """Leave the disk to training, while it goes on."""
        self._training_ended.wait(min(_REST_SHARE * worked, _LONGEST_REST_SECONDS))

    def _open(self) -> None:
        self._delivery = Delivery(self._address, self._source)

    def _deliver(self, trial: FrozenTrial) -> None:
        self._source.add(trial)
        if self._address.everything:
            return  # all at once, at the end
        self._unless_refused(lambda first: self._delivery.deliver(trial, is_first_try=first))
        self._unless_refused(lambda _: self._delivery.end_generation(trial.number))

    def _unless_refused(self, step: Callable[[bool], None]) -> None:
        """Do one step, again and again while the server is down.

        Args:
            step: Is told whether this is the first try.
        """
        is_first = True

        def attempt() -> None:
            nonlocal is_first
            was_first, is_first = is_first, False
            step(was_first)

        try:
            self._until_it_works(attempt, is_to_be_retried=_is_temporary)
        except _GaveUpError:
            raise
        except Exception as error:
            self._n_refused += 1
            if self._n_refused == 1:
                self._say(
                    "warning",
                    f"Something of study {self._address.study_name!r} cannot be brought to MLflow "
                    f"at {self._address.where}: {_describe(error)}. Training goes on, and so does "
                    "the rest; this is not said again.",
                )

    def _until_it_works(
        self,
        step: Callable[[], None],
        is_to_be_retried: Callable[[BaseException], bool] = lambda _: True,
    ) -> None:
        tries, failing_since = 0, 0.0
        while True:
            try:
                step()
            except Exception as error:  # noqa: PERF203, to try again is the point
                if tries and not is_to_be_retried(error):  # once may have been somebody else's
                    raise
                tries += 1
                if tries == 1:
                    failing_since = time.monotonic()
                elif tries == 2:  # once is no outage
                    self._say_that_it_waits(error)
                self._pause(tries, failing_since)
            else:
                if tries > 1:
                    self._say("info", f"MLflow at {self._address.where} works again.")
                return

    def _pause(self, tries: int, failing_since: float) -> None:
        """Wait before the next try; not for long once training has ended."""
        pause = _PAUSES[min(tries, len(_PAUSES)) - 1]
        if self._training_ended.wait(pause):
            if time.monotonic() - max(failing_since, self._ended_at) > _PATIENCE_SECONDS:
                raise _GaveUpError
            time.sleep(min(pause, 1.0))

    def _say_that_it_waits(self, error: Exception) -> None:
        what = (
            f"{error} "
            if isinstance(error, TrackingError)
            else f"MLflow at {self._address.where} cannot be reached: {_describe(error)}. "
        )
        self._say(
            "warning",
            f"{what}Training goes on. What it brings is kept, and delivered as soon as that works; "
            "after the run, `MLflowTracker.sync(study)` delivers what is missing.",
        )


def _is_temporary(error: BaseException) -> bool:
    """Tell whether an error says that the server is down, and not that it refuses."""
    code = getattr(error, "error_code", None)
    return code in _TEMPORARY if code is not None else isinstance(error, OSError)


def _describe(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}{'…' if len(text) > 300 else ''}"


def _main(folder: Path) -> int:
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed belongs into the log
    program = Program(folder, lambda level, text: _write_line(lines, level, text))
    threading.Thread(target=_await_end, args=(program,), daemon=True).start()
    status = program.run()
    shutil.rmtree(folder, ignore_errors=True)
    return status


def _await_end(program: Program) -> None:
    """Wait for the end of training: a byte, or the end of the standard input."""
    sys.stdin.buffer.read(1)
    program.end_of_training()


def _write_line(lines: IO[str], level: str, text: str) -> None:
    try:
        lines.write(json.dumps([level, text]) + "\n")
        lines.flush()
    except BrokenPipeError:  # training was killed: nobody listens
        pass


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
