"""Ctrl-C at the right moment: where the driver waits, never while a trial is half recorded."""

from __future__ import annotations

import ctypes
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interrupts"]


class Interrupts:
    """Holds Ctrl-C back inside its context, but for the stretches where it is let through.

    Python raises KeyboardInterrupt between any two instructions of the main thread, so between a
    trial's being asked and the driver's knowing of it. A handler of the user's own is left alone.

    The third Ctrl-C ends the process whatever it does, by the system's own doing.
    """

    def __init__(self) -> None:
        self._held_back = False
        self._let_through = False
        self._presses: _Presses | None = None

    def __enter__(self) -> Interrupts:
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._presses = _Presses()
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._presses is not None:
            self._presses.close()
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._held_back and kind is None:
            raise KeyboardInterrupt

    @contextmanager
    def let_through(self) -> Iterator[None]:
        """Raise KeyboardInterrupt here: at once if one was held back, else when it comes."""
        self._let_through = True  # first: what comes between the two is raised by the handler
        try:
            if self._held_back:
                raise KeyboardInterrupt
            yield
        finally:
            self._let_through = self._held_back = False

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        if self._let_through:
            raise KeyboardInterrupt
        self._held_back = True


class _Presses:
    """Counts Ctrl-C, and gives the signal back to the system at the second: the third kills.

    A handler in Python would not do. It runs in the main thread, and not before that returns from
    the C code that it may hang in, such as a storage's waiting for a lock. What Python writes to
    the wake-up descriptor, it writes as the signal comes; and a thread reads it.
    """

    def __init__(self) -> None:
        self._ours, self._written = socket.socketpair()
        self._written.setblocking(False)
        self._previous = signal.set_wakeup_fd(self._written.fileno(), warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Count no more."""
        signal.set_wakeup_fd(self._previous)
        self._written.shutdown(socket.SHUT_RDWR)  # ends the thread, whoever else has it open
        self._thread.join()
        self._ours.close()
        self._written.close()

    def _count(self) -> None:
        n_presses = 0
        while signals := self._ours.recv(1):
            n_presses += signals[0] == signal.SIGINT
            if n_presses == 2:
                # `signal.signal` is for the main thread only. From here on Python does not know
                # that its handler is gone; it sets another one when the run is over.
                ctypes.pythonapi.PyOS_setsig(signal.SIGINT, int(signal.SIG_DFL))
