"""Work that may take a small share of the time: after each time a long enough pause."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Seldom"]

_PAUSE = 20.0  # times what it took: 5 %


class Seldom:
    """Says when something may be done again, by how long it took the last time."""

    def __init__(self) -> None:
        self._due_at = 0.0

    @property
    def is_due(self) -> bool:
        """Whether it may be done now."""
        return time.monotonic() >= self._due_at

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Measure one time."""
        start = time.monotonic()
        try:
            yield
        finally:
            now = time.monotonic()
            self._due_at = now + _PAUSE * (now - start)
