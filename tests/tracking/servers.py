"""A real MLflow tracking server, and databases that it could have."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from tests.untraced import untraced_children

__all__ = ["MLflowServer", "ignoring_case", "make_database"]

_START_SECONDS = 120.0


class MLflowServer:
    """`mlflow server` on loopback; can be stopped and started again on the same port and data.

    Args:
        folder: For its database, its artifacts and its log; it may hold a `mlflow.db` already.
    """

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its tracking URI, also while it is stopped."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self._folder / "log").open("ab") as log, untraced_children():
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
                    *("--host", "127.0.0.1", "--port", str(self._port)),
                    *("--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db"),
                    *("--artifacts-destination", str(self._folder / "artifacts")),
                ],
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"It did not start:\n{(self._folder / 'log').read_text()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop it and its workers at once."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False


def make_database(path: Path) -> None:
    """Create an empty MLflow database: dozens of migrations, so do it once and copy the file."""
    with untraced_children():
        subprocess.run(
            [sys.executable, "-m", "mlflow", "db", "upgrade", f"sqlite:///{path}"],
            check=True,
            capture_output=True,
        )


def ignoring_case(database: Path, copy: Path) -> None:
    """Copy a database into one that compares names as MySQL and SQL Server do."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        script = "\n".join(source.iterdump())
        key = '"key" VARCHAR(250)'
        assert key in script
        target.executescript(script.replace(key, f"{key} COLLATE NOCASE"))


# Fixtures


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    make_database(path)
    return path


@pytest.fixture
def database(empty_database: Path, tmp_path: Path) -> str:
    """The tracking URI of a new SQLite database."""
    (tmp_path / "mlflow").mkdir()
    shutil.copy(empty_database, tmp_path / "mlflow" / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow/mlflow.db"
