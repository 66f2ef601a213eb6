"""A worker's phases, where they can be read from outside at any moment, even after it was killed.

They are kept in a small file mapped into memory: writing them costs a worker no system call, and
what was written before a SIGKILL is still there.
"""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path

__all__ = ["PHASES", "PhaseBoard"]

PHASES = (
    "open",  # imports are done; opens the storage and loads the study
    "recover",  # deals with the trials that a killed worker left RUNNING
    "ask",
    "suggest",
    "inherit",
    "train",
    "report",
    "save",
    "tell",
    "collect",
)

_HEADER = struct.Struct("q")  # the phase it is in
_ENTRY = struct.Struct("qd")  # of each phase: how often it began, how long it last took


class PhaseBoard:
    """Which phase one worker is in, how often each began, and how long each last took.

    Args:
        path: The file; made anew if it is not there.
    """

    def __init__(self, path: Path) -> None:
        size = _HEADER.size + _ENTRY.size * len(PHASES)
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)
        self._since = time.perf_counter()

    def enter(self, phase: str) -> None:
        """Say that the phase it was in has ended and another one begins."""
        now = time.perf_counter()
        last = _HEADER.unpack_from(self._map)[0]
        self._write(last, self.count(PHASES[last]), now - self._since)
        index = PHASES.index(phase)
        self._write(index, self.count(phase) + 1, self.seconds(phase))
        _HEADER.pack_into(self._map, 0, index)
        self._since = now

    @property
    def current(self) -> str:
        """The phase it is in, or was in when it was killed."""
        return PHASES[_HEADER.unpack_from(self._map)[0]]

    def count(self, phase: str) -> int:
        """Return how often the phase has begun."""
        return int(_ENTRY.unpack_from(self._map, self._offset(PHASES.index(phase)))[0])

    def seconds(self, phase: str) -> float:
        """Return how long the phase took when it last ended."""
        return float(_ENTRY.unpack_from(self._map, self._offset(PHASES.index(phase)))[1])

    def close(self) -> None:
        """Unmap the file."""
        self._map.close()

    def _write(self, index: int, count: int, seconds: float) -> None:
        _ENTRY.pack_into(self._map, self._offset(index), count, seconds)

    def _offset(self, index: int) -> int:
        return _HEADER.size + _ENTRY.size * index
