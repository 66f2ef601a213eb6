"""One worker process as its driver sees it: a pipe, and an end that is never overlooked."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import optuna

from epbt_optuna._internal.text import get_logger
from epbt_optuna.parallel.devices import Slot, limited_threads
from epbt_optuna.parallel.engines.fork_server import Forked, ForkServer
from epbt_optuna.parallel.engines.worker_process import Answer, serve

__all__ = ["Child", "ChildEnded"]

_LOOK_SECONDS = 1.0  # between two looks at a process whose children hold its pipes open
_END_SECONDS = 10.0  # from being told to end until it is killed

_logger = get_logger("epbt_optuna.parallel")


class ChildEnded(Exception):  # noqa: N818, an event, not a mistake
    """The process has ended; its text says how.

    Attributes:
        code: Its exit code, minus a signal's number; None if nobody knows.
        had_begun: Whether it had imported the script that it was started from.
    """

    def __init__(self, code: int | None, had_begun: bool) -> None:
        super().__init__(_how_it_ended(code))
        self.code = code
        self.had_begun = had_begun


class Child:
    """A worker process, from its start on.

    That it has ended shows at the end of its pipes; but children that it forked hold these open for
    as long as they live. So whoever waits for a message looks at the process, too.

    Args:
        name: The process's name.
        slot: Its slot.
        fork_server: What forks it; None, or one that has ended, if it is to be spawned.
    """

    def __init__(self, name: str, slot: Slot, fork_server: ForkServer | None = None) -> None:
        self._connection, theirs = multiprocessing.Pipe()
        self._has_begun = self._is_ending = self.has_loaded = False
        with theirs:  # this copy is closed: it would hide the pipe's end
            forked = None if fork_server is None else fork_server.fork(name, theirs, slot)
            self._process = forked or _spawned(name, theirs, slot)

    def load(self, payload: bytes) -> Answer:
        """Let it load what all trials have in common.

        Raises:
            ChildEnded: The process has ended.
        """
        # A process that has not begun would not read, and much cannot be written to it.
        self._receive()
        self._has_begun = True
        with suppress(OSError):  # it has ended: so says what is received next
            self._connection.send_bytes(payload)
        answer: Answer = self._receive()
        self.has_loaded = True
        return answer

    def ask(self, trial_id: int) -> Answer:
        """Let it run a trial.

        Raises:
            ChildEnded: The process has ended.
        """
        with suppress(OSError):
            self._connection.send(trial_id)
        answer: Answer = self._receive()
        return answer

    def goes_on(self) -> bool:
        """Return whether the process lives, and has not been told to end."""
        return not self._is_ending and self._process.is_alive()

    def interrupt(self) -> None:
        """Interrupt the objective that it runs; when the trial is told, the process ends."""
        self.end_soon()
        if isinstance(self._process, Forked):
            self._process.send_signal(signal.SIGINT)
        elif os.name == "posix" and self._process.pid is not None and self._process.is_alive():
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGINT)

    def end_soon(self) -> None:
        """Tell it to end, and do not wait until it has."""
        self._is_ending = True
        with suppress(OSError):
            self._connection.send(None)

    def end(self) -> None:
        """Tell it to end, and wait until it has; if need be, kill it."""
        self.end_soon()
        if not self._has_ended(_END_SECONDS):
            _logger.warning(
                "A worker process did not end within %.0f seconds and is killed. Processes or "
                "threads that an objective has left behind are what it may wait for.",
                _END_SECONDS,
            )
            self.kill()
            self._has_ended(_END_SECONDS)

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()

    def _receive(self) -> Any:
        while True:
            # In this order: what it wrote before it ended is in the pipe when it is dead.
            is_alive = self._process.is_alive()
            try:
                if self._connection.poll():
                    return self._connection.recv()
            except (EOFError, OSError):
                break
            if not is_alive:
                break
            wait([self._connection, self._process.sentinel], _LOOK_SECONDS)
        if not self._has_ended(_LOOK_SECONDS):  # its pipes close a moment earlier
            self.kill()
            self._has_ended(_END_SECONDS)
        raise ChildEnded(self._process.exitcode, self._has_begun)

    def _has_ended(self, within: float) -> bool:
        """Wait until the process has ended; not by `Process.join`, which would read its pipe."""
        deadline = time.monotonic() + within
        while self._process.is_alive():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        return True


def _spawned(name: str, connection: Connection, slot: Slot) -> BaseProcess:
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(connection, slot, optuna.logging.get_verbosity()), name=name
    )
    with limited_threads(slot):
        process.start()
    return process


def _how_it_ended(code: int | None) -> str:
    if code is None:
        return "died"
    if code >= 0:
        return f"exited with {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # real-time signals have no names
        return f"was killed by signal {-code}"
