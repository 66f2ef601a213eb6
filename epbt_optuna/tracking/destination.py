"""Where a tracker delivers to: MLflow's server or database, whatever the working directory is."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from epbt_optuna._internal.text import without_passwords

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["Destination", "absolute"]

_SERVERS = ("mssql", "mysql", "postgresql")


@dataclass(frozen=True)
class Destination:
    """What a tracker was told (see `MLflowTracker`), and in which folder."""

    tracking_uri: str | None
    experiment: str | None
    log_checkpoints: bool
    pictures_every: int
    folder: str = field(default_factory=os.getcwd)

    @property
    def where(self) -> str:
        """The server, for messages."""
        return without_passwords(self.tracking_uri or "the default tracking URI")

    @contextmanager
    def opened(self) -> Iterator[MlflowClient]:
        """Return a client; the block is to make its first request.

        The first client of a new database makes its tables, in dozens of steps. Two at a time would
        each do some, both fail, and leave tables that no client can go on from. Who comes second
        finds them made.

        Raises:
            OperationalError: A database does not answer. MLflow's client would try for minutes.
        """
        import mlflow  # takes seconds, which only the thread that delivers spends

        uri = self.tracking_uri
        if uri is None:
            uri = mlflow.get_tracking_uri()
            # Then it is in the working directory of now.
            if not mlflow.is_tracking_uri_set():  # type: ignore[no-untyped-call]
                uri = uri.replace(os.getcwd(), self.folder, 1)
            uri = absolute(uri, self.folder)
        with _lock_beside(uri):
            if uri.startswith(_SERVERS):
                create_engine(uri, poolclass=NullPool).connect().close()
            yield mlflow.MlflowClient(uri)

    def artifacts_beside(self, client: MlflowClient) -> str | None:
        """Return where the files of a new experiment are to be; None for where MLflow puts them.

        For a file that is `mlruns` in the working directory, which may be a trial's by now.
        """
        if _sqlite_file(str(client.tracking_uri)) is None or os.getcwd() == self.folder:
            return None
        return Path(self.folder, "mlruns", uuid.uuid4().hex).as_uri()


def absolute(uri: str, folder: str) -> str:
    """Return a tracking URI that means the same wherever the working directory moves."""
    if (url := _sqlite_file(uri)) is None:
        return uri
    path = os.path.abspath(os.path.join(folder, str(url.database)))
    return url.set(database=path).render_as_string(hide_password=False)


def _lock_beside(uri: str) -> AbstractContextManager[object]:
    """Return a lock of a SQLite database, that one process holds at a time; else nothing."""
    if (url := _sqlite_file(uri)) is None:
        return nullcontext()
    from filelock import FileLock

    return FileLock(f"{url.database}.lock")


def _sqlite_file(uri: str) -> URL | None:
    """Return the URI of a SQLite database in a file; None for any other, right or wrong."""
    try:
        url = make_url(uri)
    except (ArgumentError, ValueError):
        return None
    path = url.database if url.get_backend_name() == "sqlite" and not url.host else None
    return url if path and not path.startswith((":memory:", "file:")) else None
