"""Bytes and their records together: stored before they are recorded, verified before they are read.

A trial's record is written when its bytes are safely stored, so no record ever points to bytes
that are not there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal, cast

from optuna import Trial
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.exceptions import UpdateFinishedTrialError

from epbt_optuna._internal.artifact_names import ArtifactName
from epbt_optuna._internal.attrs import CHECKPOINT
from epbt_optuna._internal.extras import needs
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import read_system_attrs
from epbt_optuna._internal.text import get_logger
from epbt_optuna.checkpoints.archives import unpack, until_the_end_of
from epbt_optuna.checkpoints.artifacts import Artifacts
from epbt_optuna.checkpoints.format import FORMAT, UnreadableError, check_format
from epbt_optuna.checkpoints.records import CheckpointError, CheckpointRecord

__all__ = ["RecordedArtifacts"]

_BLOCK = 1 << 20
_HASHED_BLOCK = 1 << 16  # larger ones are memory that the system maps anew for each
_logger = get_logger("epbt_optuna.checkpoints")


class RecordedArtifacts:
    """Stores, verifies and removes what the trials of a study record.

    Args:
        artifacts: Where the bytes live. Several studies may share one place.
    """

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts

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
        identity = StudyIdentity.drawn(trial.study, n_trials=trial.number)
        token = identity.own[0]
        attrs = read_system_attrs(trial.study, trial)
        replaced = CheckpointRecord.own(trial.number, attrs, identity)
        suffix = "pt" if kind == "state" else "tar"
        artifact = str(ArtifactName.drawn(token, trial.number, suffix))
        try:
            with self._artifacts.writing(artifact) as file:
                size, sha256 = _write_hashed(file, write_content)
            # A collector takes bytes without a record for left behind once they are old. It looks
            # at the records again before it removes them, so these bytes can only go between here
            # and the record if the process sleeps for that long here, too.
            self._artifacts.touch(artifact)
        except Exception as error:
            raise CheckpointError(
                f"The checkpoint of trial {trial.number} could not be written to "
                f"{self._artifacts.where(artifact)}: {error}"
            ) from error
        try:
            content = (artifact, size, sha256, kind, final, FORMAT, token)
            CheckpointRecord(trial.number, *content).write(trial)
        except UpdateFinishedTrialError as error:
            self._artifacts.remove(artifact)
            raise CheckpointError(
                f"Trial {trial.number} has ended; save its checkpoint before it is told."
            ) from error
        if not self._artifacts.holds(artifact):  # it did sleep, or somebody emptied the folder
            with suppress(UpdateFinishedTrialError):
                CHECKPOINT.write_to_trial(trial.study, trial, attrs.get(CHECKPOINT.key))
            raise CheckpointError(
                f"The checkpoint of trial {trial.number} was gone from "
                f"{self._artifacts.where(artifact)} as soon as it was recorded: it is not saved."
            )
        if replaced is not None and identity.owns(replaced.artifact, trial.number):
            with suppress(Exception):  # the new checkpoint stands; the old one is mere garbage
                self._artifacts.remove(replaced.artifact)

    @contextmanager
    def open(
        self, record: CheckpointRecord, kind: Literal["state", "files"]
    ) -> Iterator[IO[bytes]]:
        """Open a local file with the recorded bytes, verified.

        Raises:
            CheckpointError: They are of the other kind, missing or damaged, or the block finds
                that it cannot read them.
        """
        where = f"The checkpoint of trial {record.trial} ({self._artifacts.where(record.artifact)})"
        try:
            if ArtifactName.parsed(record.artifact) is None:  # anybody's database, any path
                raise UnreadableError("that is not the name of a checkpoint")
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

    def read_state(self, record: CheckpointRecord, map_location: Any, *, mmap: bool) -> Any:
        """Return the state in recorded bytes.

        Raises:
            ValueError: `map_location` is a device that is not here.
            CheckpointError: As for `open`.
        """
        with needs("torch", "`CheckpointStore.inherit` or `load`"):
            from epbt_optuna.checkpoints.states import check_map_location, read_state

        check_map_location(map_location)
        with self.open(record, "state") as file:
            return read_state(file, map_location, mmap=mmap)

    def restore_files(self, record: CheckpointRecord, target: Path | None, owner: object) -> Path:
        """Restore the files in recorded bytes, by default where they live as long as `owner`.

        Raises:
            CheckpointError: As for `open`.
        """
        with self.open(record, "files") as file:
            return unpack(file, target or until_the_end_of(owner), keep_name=target is None)

    def copy(self, record: CheckpointRecord, artifact: str) -> bool:
        """Copy recorded bytes to another name; return False if they are missing or damaged.

        Raises:
            CheckpointError: They could not be read or written now.
        """
        try:
            with (
                self.open(record, record.kind) as source,
                self._artifacts.writing(artifact) as file,
            ):
                shutil.copyfileobj(source, file, _BLOCK)
        except CheckpointError as error:
            if isinstance(error.__cause__, OSError):
                raise
            return False
        return True

    def remove(self, artifact: str) -> bool:
        """Remove bytes, if they are there; return False, with a warning, if that fails."""
        try:
            self._artifacts.remove(artifact)
        except Exception as error:  # an object store raises what it likes
            _logger.warning("The checkpoint %s could not be removed: %s", artifact, error)
            return False
        return True

    def sweep(self, file: str, is_recorded: Callable[[], bool]) -> None:
        """Remove a file that a crashed writer left, unless it is recorded by then."""
        try:
            self._artifacts.sweep(file, is_recorded)
        except OSError as error:
            _logger.warning("The file %s could not be removed: %s", file, error)

    def listing(self, identity: StudyIdentity) -> dict[str, os.stat_result] | None:
        """Return a study's artifacts that are there; None where that cannot be known.

        Raises:
            CheckpointError: The folder cannot be listed now.
        """
        try:
            return self._artifacts.listing(identity.prefixes)
        except OSError as error:
            raise CheckpointError(f"The checkpoints cannot be listed: {error}") from error


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


def _verify(file: IO[bytes], record: CheckpointRecord) -> None:
    """Compare an open file with its record, and go back to its start.

    Raises:
        UnreadableError: Its size or digest is another one.
    """
    if (size := file.seek(0, os.SEEK_END)) != record.size:
        raise UnreadableError(f"it is damaged: {size} bytes, but {record.size} were written")
    file.seek(0)
    sha256 = hashlib.sha256()
    while block := file.read(_HASHED_BLOCK):
        sha256.update(block)
    if (digest := sha256.hexdigest()) != record.sha256:
        raise UnreadableError(
            f"it is damaged: its SHA-256 is {digest}, but {record.sha256} was written"
        )
    file.seek(0)


def _check_kind(recorded: str, expected: str) -> None:
    if recorded != expected:
        methods = {"state": "`inherit` or `load`", "files": "`inherit_path` or `load_path`"}
        raise UnreadableError(f"it holds {recorded}: use {methods.get(recorded, 'what wrote it')}")
