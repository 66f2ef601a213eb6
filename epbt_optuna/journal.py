"""Optuna's journal files, for workers that may be killed at any moment.

Optuna's own locks are files, which a killed process leaves behind: everybody waits for the grace
period to pass, and of those who then take the lock from the dead, one may take it from the other.
And a write that is killed may leave half a line, right behind which the next worker writes: such
a journal cannot be read any more. And every line is synchronised to the disk, which is most of
what a short trial costs.
"""

from __future__ import annotations

import json
import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna import Study
from optuna.storages import JournalStorage
from optuna.storages.journal import (
    BaseJournalBackend,
    JournalFileBackend,
    JournalFileOpenLock,
)

from epbt_optuna._internal.optuna import journal_of
from epbt_optuna._internal.paths import local_path
from epbt_optuna._internal.text import get_logger

if os.name == "posix":
    import fcntl

__all__ = ["JournalLock", "journal_storage", "synchronized_once"]

_START = b'{"op_code":'  # of each line that Optuna writes
_LONGEST_FIRST_LINE = 1 << 20
_BLOCK = 1 << 26  # longer than any line
_logger = get_logger("epbt_optuna.journal")
_LOG_SECONDS = 10.0


def journal_storage(path: str | os.PathLike[str]) -> JournalStorage:
    """Open a journal file as a storage, with a `JournalLock` where there can be one.

    Where there cannot, on Windows, it has Optuna's `JournalFileOpenLock`. All workers on a journal
    must use the same kind of lock: let all of them open it by this function.

    What has been written is in the file at once, whatever becomes of its process. It survives a
    power cut from the next line on that is neither a variable nor a report: a trial that is asked
    or told, an attr such as a checkpoint's record. So a power cut costs no more than the variables
    and last reports of trials that it cut off.

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
    if os.name == "posix":
        return JournalStorage(_JournalFile(file))
    return JournalStorage(JournalFileBackend(file, lock_obj=JournalFileOpenLock(file)))


@contextmanager
def synchronized_once(study: Study) -> Iterator[None]:
    """Synchronise the study's journal once, when the block ends, and not at each line of it.

    For what one process writes about many trials in a row. A power cut may undo all of it, from the
    first line that did not reach the disk. Storages of other kinds are left alone.
    """
    backend = journal_of(study)
    if not isinstance(backend, _JournalFile):
        yield
        return
    with backend.synchronized_once():
        yield


class _JournalFile(BaseJournalBackend):
    """A journal file as Optuna writes it, locked by `JournalLock`, synchronised where it matters.

    `JournalStorage` reads and appends in one thread at a time. Blocks of `synchronized_once` are
    one thread's, and another may append while the last one ends: its line is synchronised by then,
    or together with the next one.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = JournalLock(path)
        self._n_read = self._offset = 0  # lines handed out, and where the next one begins
        self._n_blocks = 0  # that synchronise in the end
        self._is_behind = False  # whether they have to
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT, 0o666))

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Read whole lines from a number on; one that is being written, or torn, is none yet."""
        if log_number_from != self._n_read:
            self._n_read = self._offset = 0
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            size = self._size_of(descriptor)
            while self._offset < size:
                block = os.pread(descriptor, min(size - self._offset, _BLOCK), self._offset)
                lines = block.splitlines(keepends=True)
                if lines and not lines[-1].endswith(b"\n"):
                    del lines[-1]
                if not lines:
                    return
                for line in lines:
                    self._n_read += 1
                    self._offset += len(line)
                    if self._n_read > log_number_from:
                        yield self._parsed(line)
        finally:
            os.close(descriptor)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append one line each, and synchronise the file unless the trial goes on writing.

        A variable or a report is followed by others and at last by what ends the trial. That is
        synchronised, and they with it, as they stand before it in the file. What is lost before
        that, in a power cut that ends the trial's process, would only have said how far it was.
        """
        data = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with self._lock as descriptor:
            self._size_of(descriptor)  # before anything is written into the file of another study
            while data:  # all of it at once, but for a file system that is full
                data = data[os.write(descriptor, data) :]
            goes_on = all("param_name" in log or "intermediate_value" in log for log in logs)
            if not goes_on:
                self._is_behind = bool(self._n_blocks)
                if not self._is_behind:
                    os.fsync(descriptor)

    def _size_of(self, descriptor: int) -> int:
        """Return the size of the open file, which goes on from what was read of it before.

        Raises:
            ValueError: It does not.
        """
        size = os.fstat(descriptor).st_size
        if self._offset and (
            size < self._offset or os.pread(descriptor, 1, self._offset - 1) != b"\n"
        ):
            raise ValueError(
                f"{self._path} was cut, or replaced by another file, since it was opened: it has "
                f"{size} bytes, and {self._offset} were read. Nothing is written to it. Put the "
                "journal back, and start again."
            )
        return size

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            log: dict[str, Any] = json.loads(line)
        except ValueError as error:
            raise ValueError(
                f"{self._path} is damaged in line {self._n_read}: {error}. What is before it can "
                f"be saved: `head -n {self._n_read - 1}` into another file, and open that."
            ) from error
        return log

    @contextmanager
    def synchronized_once(self) -> Iterator[None]:
        """Synchronise what was put off when the last of nested blocks ends, however it does."""
        self._n_blocks += 1
        try:
            yield
        finally:
            self._n_blocks -= 1
            if self._is_behind and not self._n_blocks:
                self._is_behind = False
                with self._lock as descriptor:
                    os.fsync(descriptor)


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
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            self._wait_for(descriptor)
            _cut_off_torn_line(self._path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def __enter__(self) -> int:
        """Hold the lock, and return the open file that it is held by."""
        self.acquire()
        assert self._descriptor is not None
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        """Let go of the lock."""
        self.release()

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
