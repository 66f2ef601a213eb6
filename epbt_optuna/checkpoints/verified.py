"""Bytes and their records together: stored before they are recorded, verified before they are lent.

A trial's record is written when its bytes are safely stored, so no record ever points to bytes
that are not there.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Literal

from optuna import Study, Trial
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.exceptions import UpdateFinishedTrialError

from epbt_optuna._internal.optuna import read_study_attrs, read_system_attrs, write_study_attr
from epbt_optuna._internal.per_study import PerStudy
from epbt_optuna.checkpoints.artifacts import Artifacts
from epbt_optuna.checkpoints.records import CheckpointError, Record
from epbt_optuna.checkpoints.states import FORMAT, UnreadableError, check_format, digest_of

__all__ = ["Vault"]

_PREFIXES_KEY = "epbt:checkpoints:"


class Vault:
    """Stores, verifies and removes what the trials of a study record.

    Args:
        artifacts: Where the bytes live. Several studies may share one place.
    """

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._prefix = PerStudy(_own_prefix)

    def put(
        self,
        trial: Trial,
        kind: Literal["state", "files"],
        final: bool,
        write: Callable[[IO[bytes]], tuple[int, str]],
    ) -> None:
        """Store what `write` writes (it returns size and digest), record it, drop the last one.

        Raises:
            CheckpointError: The bytes could not be stored, or the trial has ended.
        """
        replaced = Record.own(trial.number, read_system_attrs(trial.study, trial))
        suffix = "pt" if kind == "state" else "tar"
        artifact = f"{self._prefix(trial.study)}{trial.number:06d}-{uuid.uuid4().hex}.{suffix}"
        try:
            with self._artifacts.writing(artifact) as file:
                size, sha256 = write(file)
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
    def lend(self, record: Record, kind: Literal["state", "files"]) -> Iterator[Path]:
        """Lend the recorded bytes as a local file, verified.

        Raises:
            CheckpointError: They are of the other kind, missing or damaged, or the borrower
                finds that it cannot read them.
        """
        where = f"The checkpoint of trial {record.trial} ({self._artifacts.where(record.artifact)})"
        try:
            check_format(record.format)
            _check_kind(record.kind, kind)
            with self._artifacts.reading(record.artifact) as path:
                if (size := path.stat().st_size) != record.size:
                    raise UnreadableError(
                        f"it is damaged: {size} bytes, but {record.size} were written"
                    )
                if (digest := digest_of(path)) != record.sha256:
                    raise UnreadableError(
                        f"it is damaged: its SHA-256 is {digest}, but {record.sha256} was written"
                    )
                yield path
        except ArtifactNotFound as error:
            raise CheckpointError(f"{where} is missing, or was collected.") from error
        except (OSError, ValueError, UnreadableError) as error:
            raise CheckpointError(f"{where} cannot be read: {error}.") from error

    def owns(self, study: Study, artifact: str) -> bool:
        """Return whether bytes are this study's to remove.

        A trial that was added from another study brings the record of that one's bytes along.
        """
        return artifact.startswith(self._prefix(study)) or artifact.startswith(_prefixes(study))

    def remove(self, artifact: str) -> None:
        """Remove bytes, if they are there."""
        self._artifacts.remove(artifact)

    def leftovers(self, study: Study, before: float) -> Iterator[str]:
        """Yield the study's artifacts, temporary files too, that were written before a time."""
        for prefix in _prefixes(study):
            yield from self._artifacts.leftovers(prefix, before)


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
