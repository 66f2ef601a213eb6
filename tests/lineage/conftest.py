"""What tests of several files use."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture
def usual_recursion_limit() -> Iterator[None]:
    """Let functions call one another as deeply as Python does at first."""
    limit = sys.getrecursionlimit()  # torch's compiler raises it
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(limit)
