"""Bytes and their records together: stored before they are recorded, verified before they are read.

A trial's record is written when its bytes are safely stored, so no record ever points to bytes
that are not there.
"""

from __future__ import annotations

import hashlib
import logging
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Literal, cast

from optuna import Study, Trial
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.exceptions import UpdateFinishedTrialError

from epbt_optuna._internal.optuna import read_study_attrs, read_system_attrs, write_study_attr
from epbt_optuna._internal.per_study import PerStudy
from epbt_optuna.checkpoints.artifacts import Artifacts
from epbt_optuna.checkpoints.format import FORMAT, UnreadableError, check_format
from epbt_optuna.checkpoints.records import CheckpointError, Record

__all__ = ["RecordedArtifacts"]

_PREFIXES_KEY = "epbt:checkpoints:"
_BLOCK = 1 << 20
_logger = logging.getLogger("epbt_optuna.checkpoints")


class RecordedArtifacts:
    """Stores, verifies and removes what the trials of a study record.

    Args:
        artifacts: Where the bytes live. Several studies may share one place.
    """

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._prefix = PerStudy(_own_prefix)

    def write(
        self,
        trial: Trial,
        kind: Literal["state", "files"],
        final: bool,
        write_content: Callable[[IO[bytes]], None],
    ) -> None:
        """Store what `write_content` writes, record it, and remove what the trial had stored.

        Raises:
            CheckpointError: The bytes could not be stored, or the trial has ended.
        """
        replaced = Record.own(trial.number, read_system_attrs(trial.study, trial))
        suffix = "pt" if kind == "state" else "tar"
        artifact = f"{self._prefix(trial.study)}{trial.number:06d}-{uuid.uuid4().hex}.{suffix}"
        try:
            with self._artifacts.writing(artifact) as file:
                size, sha256 = _write_hashed(file, write_content)
        except Exception as error:
            raise CheckpointError(
                f"The checkpoint of trial {trial.number} could not be written to "
                f"{self._artifacts.where(artifact)}: {error}"
            ) from error
        try:
            Record(trial.number, artifact, size, sha256, kind, final, FORMAT).write(trial)
        except UpdateFinishedTrialError as error:
            self._artifacts.remove(artifact)
            raise CheckpointError(
                f"Trial {trial.number} has ended; save its checkpoint before it is told."
            ) from error
        if replaced is not None:
            with suppress(Exception):  # the new checkpoint stands; the old one is mere garbage
                if self.owns(trial.study, replaced.artifact):
                    self._artifacts.remove(replaced.artifact)

    @contextmanager
    def open(self, record: Record, kind: Literal["state", "files"]) -> Iterator[IO[bytes]]:
        """Open a local file with the recorded bytes, verified.

        Raises:
            CheckpointError: They are of the other kind, missing or damaged, or the block finds
                that it cannot read them.
        """
        where = f"The checkpoint of trial {record.trial} ({self._artifacts.where(record.artifact)})"
        try:
            check_format(record.format)
            _check_kind(record.kind, kind)
            with self._artifacts.reading(record.artifact) as file:
                # From here on somebody may remove the file or rename another one over it. The
                # open file stays what it was, so what is verified is what the block reads.
                _verify(file, record)
                yield file
        except ArtifactNotFound as error:
            raise CheckpointError(f"{where} is missing, or was collected.") from error
        except (OSError, ValueError, UnreadableError) as error:
            raise CheckpointError(f"{where} cannot be read: {error}.") from error

    def owns(self, study: Study, artifact: str) -> bool:
        """Return whether bytes are this study's to remove.

        A trial that was added from another study brings the record of that one's bytes along.
        """
        return artifact.startswith(self._prefix(study)) or artifact.startswith(_prefixes(study))

    def remove(self, artifact: str) -> bool:
        """Remove bytes, if they are there; return False, with a warning, if that fails."""
        try:
            self._artifacts.remove(artifact)
        except Exception as error:  # an object store raises what it likes
            _logger.warning("The checkpoint %s could not be removed: %s", artifact, error)
            return False
        return True

    def leftovers(self, study: Study, before: float) -> Iterator[str]:
        """Yield the study's artifacts, temporary files too, that were written before a time."""
        for prefix in _prefixes(study):
            yield from self._artifacts.leftovers(prefix, before)


class _HashingWriter:
    """A file that counts and digests what passes through it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.hash = hashlib.sha256()
        self.size = 0
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write and digest some bytes."""
        self.hash.update(data)
        self.size += len(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Flush the file."""
        self._file.flush()


def _write_hashed(file: IO[bytes], write_content: Callable[[IO[bytes]], None]) -> tuple[int, str]:
    """Write to a file; return the size in bytes and the SHA-256 digest of what was written."""
    writer = _HashingWriter(file)
    try:
        write_content(cast(IO[bytes], writer))
    except Exception as error:
        if writer.error is None:
            raise
        raise writer.error from error  # torch says no more than that a position is unexpected
    return writer.size, writer.hash.hexdigest()


def _verify(file: IO[bytes], record: Record) -> None:
    """Compare an open file with its record, and go back to its start.

    Raises:
        UnreadableError: Its size or digest is another one.
    """
    if (size := file.seek(0, os.SEEK_END)) != record.size:
        raise UnreadableError(f"it is damaged: {size} bytes, but {record.size} were written")
    file.seek(0)
    sha256 = hashlib.sha256()
    while block := file.read(_BLOCK):
        sha256.update(block)
    if (digest := sha256.hexdigest()) != record.sha256:
        raise UnreadableError(
            f"it is damaged: its SHA-256 is {digest}, but {record.sha256} was written"
        )
    file.seek(0)


def _check_kind(recorded: str, expected: str) -> None:
    if recorded != expected:
        methods = {"state": "`inherit` or `load`", "files": "`inherit_path`"}
        raise UnreadableError(f"it holds {recorded}: use {methods.get(recorded, 'what wrote it')}")


def _own_prefix(study: Study) -> str:
    """Return what the names of a study's artifacts begin with; drawn where there is none yet.

    Study names may repeat, in other databases; nobody may sweep another's files.
    """
    if not _prefixes(study):
        write_study_attr(study, f"{_PREFIXES_KEY}epbt-{uuid.uuid4().hex[:12]}-", True)
    return _prefixes(study)[0]


def _prefixes(study: Study) -> tuple[str, ...]:
    """Return all prefixes of a study: workers that begin at one moment may each draw one."""
    keys = (key for key in read_study_attrs(study) if key.startswith(_PREFIXES_KEY))
    return tuple(sorted(key.removeprefix(_PREFIXES_KEY) for key in keys))
