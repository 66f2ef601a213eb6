"""One real MLflow server for all tests here that do not stop it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tracking.servers import MLflowServer, database, empty_database

__all__ = ["database", "empty_database"]


@pytest.fixture(autouse=True)
def temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what killed couriers leave behind in the test's own folder."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # so that the variable is read again


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
