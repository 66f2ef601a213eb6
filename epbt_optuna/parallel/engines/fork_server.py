"""A process that has imported what all workers need, and forks them: the driver's side.

A spawned worker imports torch, Optuna and this package anew, seconds of computing that workers on
the same cores do one after the other. The server does it once. It never imports the script that
runs, nor loads study or objective: a worker does that behind the fork, as a spawned one would. So
nothing of the user's is shared by workers, be it an open connection, a generator of random numbers
or the name of a temporary folder.

The server alone waits for the processes that it has forked. So the driver knows them by handles
(`pidfd_open`), which never come to mean another process, as numbers may.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import send_handle
from multiprocessing.spawn import get_command_line, get_preparation_data

import optuna

from epbt_optuna.parallel.devices import Slot, limited_threads
from epbt_optuna.parallel.engines.fork_server_process import Request

__all__ = ["ForkServer", "Forked", "can_fork"]

# What a worker is likely to import that takes long, starts no thread and opens nothing.
_LIBRARIES = ("numpy", "scipy", "pandas", "sklearn", "torch", "torchvision")
_STATUS_SECONDS = 10.0  # from a worker's end until the server has said how it came
# A Ctrl-C in the terminal is for the driver, also while this imports.
_PROGRAM = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); sys.path[:] = {path!r}; "
    "from epbt_optuna.parallel.engines.fork_server_process import main; main({control}, {names!r})"
)


def can_fork(slots: Sequence[Slot]) -> bool:
    """Return whether these workers can be forked by a server.

    It needs Linux. And a GPU works in no process that was forked behind its first use, which the
    import of a library may be.
    """
    has_handles = hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal")
    return (
        sys.platform == "linux"
        and has_handles
        and not getattr(sys, "frozen", False)  # its program takes no `-c`
        and all(slot.device == "cpu" for slot in slots)
    )


class ForkServer:
    """The server of one run.

    The libraries that are imported here are imported there.

    Args:
        slot: Any of the workers': they all have the same number of threads.
    """

    def __init__(self, slot: Slot) -> None:
        self._control, theirs = Pipe()
        self._lock = threading.Lock()  # several threads start workers
        names = [name for name in _LIBRARIES if name in sys.modules]
        program = _PROGRAM.format(path=sys.path, control=theirs.fileno(), names=names)
        interpreter = get_command_line()[:-3]  # with its flags, as for a spawned process
        with theirs, limited_threads(slot):
            self._process = subprocess.Popen(
                [*interpreter, "-c", program],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def fork(self, name: str, connection: Connection, slot: Slot) -> Forked | None:
        """Let it fork a worker, when it has imported what it is to; None if it cannot any more.

        Args:
            name: The worker's name.
            connection: The worker's end of its pipe.
            slot: Its slot.
        """
        data = get_preparation_data(name)
        data["authkey"] = bytes(data["authkey"])  # the type of its own refuses to be sent
        request = Request(name, data, slot, optuna.logging.get_verbosity())
        status, theirs = Pipe(duplex=False)
        with theirs, self._lock, suppress(OSError):
            self._control.send(request)
            for end in (connection, theirs):
                send_handle(self._control, end.fileno(), self._process.pid)
        with suppress(EOFError, OSError):  # it has ended: of its own accord, or killed
            return Forked(status, status.recv())
        return None

    def end(self) -> None:
        """Kill it, and with it all workers that are still there; wait until it is gone."""
        self._process.kill()
        self._process.wait()


class Forked:
    """A process that the server has forked, with what a `Process` has.

    Args:
        status: Says at the end how it ended.
        number: The process's number.

    Raises:
        OSError: It has ended already.
    """

    def __init__(self, status: Connection, number: int) -> None:
        self._status = status
        self._exitcode: int | None = None
        self.sentinel = os.pidfd_open(number)
        weakref.finalize(self, os.close, self.sentinel)

    @property
    def exitcode(self) -> int | None:
        """How it ended, minus a signal's number; None if it has not, or nobody knows."""
        if self._exitcode is None and not self.is_alive():
            with suppress(EOFError, OSError):  # the server has ended, too
                if self._status.poll(_STATUS_SECONDS):
                    self._exitcode = self._status.recv()
        return self._exitcode

    def is_alive(self) -> bool:
        """Return whether it runs."""
        return not wait([self.sentinel], 0)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.sentinel, number)
