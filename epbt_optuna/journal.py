"""Optuna's journal files, for workers that may be killed at any moment.

Optuna's own locks are files, which a killed process leaves behind: everybody waits for the grace
period to pass, and of those who then take the lock from the dead, one may take it from the other.
And a write that is killed may leave half a line, right behind which the next worker writes: such
a journal cannot be read any more.
"""

from __future__ import annotations

import json
import mmap
import os
import threading
from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from epbt_optuna._internal.paths import local_path
from epbt_optuna._internal.text import get_logger

if os.name == "posix":
    import fcntl

__all__ = ["JournalLock", "journal_storage"]

_START = b'{"op_code":'  # of each line that Optuna writes
_LONGEST_FIRST_LINE = 1 << 20
_logger = get_logger("epbt_optuna.journal")
_LOG_SECONDS = 10.0


def journal_storage(path: str | os.PathLike[str]) -> JournalStorage:
    """Open a journal file as a storage, with a `JournalLock` where there can be one.

    Where there cannot, on Windows, it has Optuna's `JournalFileOpenLock`. All workers on a journal
    must use the same kind of lock: let all of them open it by this function.

    Args:
        path: The journal file; made if it does not exist, its folder is not. A relative path is
            the one that it is now, wherever the working directory moves.

    Raises:
        ValueError: `path` is a URL, or there is something else than a journal: it is left as it is.

    Example:
        ```python
        study = optuna.create_study(storage=journal_storage("study.log"))
        ```
    """
    file = os.fspath(_journal_path(path))
    lock = JournalLock(file) if os.name == "posix" else JournalFileOpenLock(file)
    return JournalStorage(JournalFileBackend(file, lock_obj=lock))


class JournalLock(JournalFileOpenLock):
    """Locks a journal file itself, by `flock`: the lock ends with the process that holds it.

    Nobody ever waits for the dead; whoever waits for more than ten seconds says so in the log. When
    the last line was cut short by the death of its writer, it is cut off before anybody writes
    behind it; what it said had not been confirmed to anybody. All workers on a journal must use the
    same kind of lock: see `journal_storage`.

    For POSIX systems, and file systems on which `flock` works: local ones, and NFS from version
    4 on.

    Args:
        path: The journal file, as for `journal_storage`.

    Raises:
        ValueError: As for `journal_storage`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(_journal_path(path))
        super().__init__(self._path, grace_period=None)
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Wait until nobody else holds the lock, and hold it; always returns True.

        Raises:
            ValueError: The file is no journal any more; it is left as it is.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            self._wait_for(descriptor)
            _cut_off_torn_line(self._path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def _wait_for(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = "Waiting for the lock of %s, which another process or thread holds."
            timer = threading.Timer(_LOG_SECONDS, _logger.warning, (message, self._path))
            timer.daemon = True  # nobody who gives up waiting is to wait for it
            timer.start()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            finally:
                timer.cancel()

    def release(self) -> None:
        """Let go of the lock.

        Raises:
            RuntimeError: It is not held.
        """
        if self._descriptor is None:
            raise RuntimeError(f"The lock of {self._path} cannot be released: it is not held.")
        descriptor, self._descriptor = self._descriptor, None
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # a process forked meanwhile has it open as well
        os.close(descriptor)


def _journal_path(path: str | os.PathLike[str]) -> Path:
    file = local_path("path", path)
    _check_is_journal(file)
    return file


def _check_is_journal(path: str | os.PathLike[str]) -> None:
    """Raise unless a file is a journal, its first line maybe cut short, or does not exist.

    Raises:
        ValueError: It is not.
    """
    if not os.path.exists(path):
        return
    if os.path.isfile(path):
        with open(path, "rb") as file:
            start = file.read(len(_START))
            if _START.startswith(start):  # so also an empty one, or where the first write was cut
                return
            first_line = start + file.readline(_LONGEST_FIRST_LINE)
        try:
            operation = json.loads(first_line)
        except (ValueError, RecursionError):
            operation = None
        if isinstance(operation, dict) and "op_code" in operation:  # written with spaces
            return
    raise ValueError(
        f"`path` must be a journal of Optuna's, or not exist yet, but {path} is none; it is left "
        "as it is."
    )


def _cut_off_torn_line(path: str, descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return
    _check_is_journal(path)  # again: it may have been written since the lock was made
    with mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) as journal:
        whole_lines = journal.rfind(b"\n") + 1
    os.truncate(descriptor, whole_lines)
