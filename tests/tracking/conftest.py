"""One real MLflow server for all tests here that do not stop it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tracking.servers import MLflowServer, database, empty_database

__all__ = ["database", "empty_database"]


@pytest.fixture(autouse=True)
def root_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow 3.1 would replace the root's handlers, caplog's too, where it makes a database."""
    monkeypatch.setattr("logging.config.fileConfig", lambda *_, **__: None)


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
