"""Ctrl-C at the right moment: where the driver waits, never while a trial is half recorded."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interrupts"]


class Interrupts:
    """Holds Ctrl-C back inside its context, but for the stretches where it is let through.

    Python raises KeyboardInterrupt between any two instructions of the main thread, so between a
    trial's being asked and the driver's knowing of it. A handler of the user's own is left alone.
    """

    def __init__(self) -> None:
        self._held_back = False
        self._let_through = False
        self._installed = False

    def __enter__(self) -> Interrupts:
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._held_back and kind is None:
            raise KeyboardInterrupt

    @contextmanager
    def let_through(self) -> Iterator[None]:
        """Raise KeyboardInterrupt here: at once if one was held back, else when it comes."""
        self._let_through = True
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
