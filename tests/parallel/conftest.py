"""Real servers for the tests of many workers, each started once, and workers that start soon."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from epbt_optuna.parallel.engines import fork_server
from tests.parallel.clusters import two_nodes
from tests.servers import grpc_proxy, postgres
from tests.untraced import untraced_children

__all__ = ["grpc_proxy", "postgres", "two_nodes"]


@pytest.fixture
def libraries() -> tuple[str, ...]:
    """What the fork server imports; a module whose workers train with torch says so."""
    return ()


@pytest.fixture(autouse=True)
def _soon_started(monkeypatch: pytest.MonkeyPatch, libraries: tuple[str, ...]) -> None:
    """The suite imports torch, and so would the server of every run, which takes seconds."""
    monkeypatch.setattr(fork_server, "_LIBRARIES", libraries)


@pytest.fixture
def untraced_workers() -> Iterator[None]:
    """For forked workers: coverage learns nothing of them, and would slow down their server."""
    with untraced_children():
        yield
