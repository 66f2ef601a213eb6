"""Opens a study for looking at: nothing is created, and what is missing is said in one line."""

from __future__ import annotations

import os
import sqlite3
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import optuna
from optuna import Study
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from epbt_optuna.cli._errors import first_line
from epbt_optuna.journal import JournalLock

__all__ = ["open_study"]

_GRPC_PORT = 13000  # Optuna's
_GRPC_SECONDS = 5.0
_LOCK_SECONDS = 10.0
_MOST_NAMES = 20
_SQLITE_MAGIC = b"SQLite format 3\x00"


def open_study(storage: str, study_name: str | None) -> Study:
    """Open a study that exists.

    Args:
        storage: A database's URL, a journal's (or SQLite's) file, or `grpc://host:port`.
        study_name: The study's name; None where there is only one.

    Raises:
        ImportError: A driver is not installed.
        OSError: The storage does not exist or cannot be reached.
        ValueError: It is no storage of Optuna's, or has no such study.
    """
    opened = _open_storage(storage)
    names = optuna.get_all_study_names(opened)
    if not names:
        raise ValueError(f"There is no study in {storage}.")
    if study_name is None and len(names) > 1:
        raise ValueError(f"Say which study: {storage} has {_listed(names)}.")
    if study_name is not None and study_name not in names:
        raise ValueError(f"There is no study {study_name!r} in {storage}; it has {_listed(names)}.")
    return optuna.load_study(
        study_name=study_name or names[0],
        storage=opened,
        sampler=RandomSampler(),
        pruner=NopPruner(),
    )


def _open_storage(storage: str) -> BaseStorage:
    if storage.startswith("grpc://"):
        return _open_grpc(storage)
    if "://" in storage:
        return _open_database(storage)
    path = Path(storage)
    if not path.is_file():
        problem = "is not a file" if path.exists() else "does not exist"
        raise OSError(
            f"{storage} {problem}; a storage is a database's URL, a journal's file, or "
            "grpc://host:port."
        )
    with path.open("rb") as file:
        is_sqlite = file.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC
    return _open_sqlite(path) if is_sqlite else _open_journal(path)


def _open_journal(path: Path) -> BaseStorage:
    try:
        return JournalStorage(JournalFileBackend(str(path), lock_obj=_EveryLock(path)))
    # Lines of something else; Optuna asserts that it knows each kind of them.
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise ValueError(f"{path} is no journal of Optuna's.") from error


class _EveryLock(JournalFileOpenLock):
    """Locks a journal in the ways of all workers that there may be on it.

    An idle journal does not say how its workers lock it: by `JournalLock`, which holds the file
    itself, or by one of Optuna's locks, both of which make the file `.lock` beside it and fail
    where there is one. Who holds both keeps everybody out. Workers of one kind hold one of them
    only, so nobody waits for this lock while it waits for him.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), grace_period=None)
        self._path = path
        self._beside = path.with_name(f"{path.name}.lock")
        self._lock = JournalLock(path)  # says what is no journal, also where it cannot be held
        self._can_hold = os.name == "posix"

    def acquire(self) -> bool:
        """Hold both.

        Raises:
            OSError: Somebody holds Optuna's lock for too long; nothing is written.
        """
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                os.close(os.open(self._beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                break
            except FileExistsError:
                if time.monotonic() > deadline:
                    raise OSError(
                        f"{self._path} is locked by {self._beside}, Optuna's lock, for more than "
                        f"{_LOCK_SECONDS:g} seconds, and nothing was written. If no worker runs "
                        "any more, one died with it: remove that file."
                    ) from None
                time.sleep(0.01)
        try:
            if self._can_hold:
                self._lock.acquire()
        except BaseException:
            self._beside.unlink()
            raise
        return True

    def release(self) -> None:
        """Let go of both, in the reverse order."""
        if self._can_hold:
            self._lock.release()
        self._beside.unlink(missing_ok=True)


def _open_sqlite(path: Path) -> BaseStorage:
    """Open a database by its file, whose name may have characters that mean something in a URL."""
    return _open_tables(
        str(path), "sqlite://", creator=partial(sqlite3.connect, path, check_same_thread=False)
    )


def _open_database(storage: str) -> BaseStorage:
    try:
        url = make_url(storage)
    except (ArgumentError, ValueError) as error:  # the latter of a port that is no number
        raise ValueError(f"{storage!r} is no URL of a database: {first_line(error)}.") from error
    if url.get_backend_name() == "sqlite":
        _require_file(url)
    return _open_tables(storage, storage)


def _open_tables(storage: str, url: str, **options: Any) -> BaseStorage:
    try:
        # Without a pool no connection is open when the command is done.
        return RDBStorage(url, {"poolclass": NullPool, **options}, skip_table_creation=True)
    except ImportError as error:
        raise ImportError(
            f"{storage} needs a driver that is not installed: {first_line(error)}."
        ) from error
    except (SQLAlchemyError, StorageInternalError) as error:
        reason = first_line(error)
        if "version_info" in reason or "not a database" in reason:  # Optuna's first table
            raise ValueError(f"{storage} is no storage of Optuna's: {reason}.") from error
        raise OSError(f"{storage} cannot be opened: {reason}.") from error
    except RuntimeError as error:  # another release's tables
        raise ValueError(f"{storage} cannot be read: {error}") from error


def _require_file(url: URL) -> None:
    """Raise if there is no such file, which SQLite would create."""
    if url.host:
        raise ValueError(
            f"{url} has two slashes: a file's URL is sqlite:///{url.host}, with three."
        )
    if not url.database or url.database == ":memory:":
        raise ValueError(f"{url} is in memory: there is nothing in it to look at.")
    path = Path(urlsplit(url.database).path if url.database.startswith("file:") else url.database)
    if not path.is_file():
        raise OSError(f"There is no database {path}.")


def _open_grpc(storage: str) -> BaseStorage:
    try:
        address = urlsplit(storage)
        host, port = address.hostname, address.port or _GRPC_PORT
    except ValueError as error:  # the port is no number
        raise ValueError(f"{storage} is not of the form grpc://host:port: {error}.") from error
    if host is None:
        raise ValueError(f"{storage} is not of the form grpc://host:port.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            proxy = GrpcStorageProxy(host=host, port=port)
        proxy.wait_server_ready(timeout=_GRPC_SECONDS)
    except ImportError as error:
        raise ImportError(
            f"{storage} needs gRPC, which is not installed: pip install grpcio protobuf"
        ) from error
    except ConnectionError as error:
        raise OSError(
            f"No gRPC proxy answered at {storage} within {_GRPC_SECONDS:g} seconds."
        ) from error
    return proxy


def _listed(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:_MOST_NAMES])
    more = len(names) - _MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown
