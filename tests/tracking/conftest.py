"""One real MLflow server for all tests here that do not stop it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tracking.servers import MLflowServer, database, empty_database

__all__ = ["database", "empty_database"]


@pytest.fixture(scope="session")
def server(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The tracking URI of a running server."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_database, folder)
    server = MLflowServer(folder)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()
