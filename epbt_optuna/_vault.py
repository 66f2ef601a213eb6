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

from epbt_optuna._artifacts import Artifacts
from epbt_optuna._optuna import read_study_attr, read_system_attrs, write_study_attr
from epbt_optuna._per_study import PerStudy
from epbt_optuna._records import Record
from epbt_optuna._serialization import FORMAT, UnreadableError, digest_of

__all__ = ["CheckpointError", "Vault"]

_PREFIX_KEY = "epbt:checkpoints"


class CheckpointError(RuntimeError):
    """A checkpoint is missing, damaged, or could not be written; the message names the trial."""


class Vault:
    """Stores, verifies and removes what the trials of a study record.

    Args:
        artifacts: Where the bytes live. Several studies may share one place.
    """

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._prefix = PerStudy(_prefix_of)

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
                self._artifacts.remove(replaced.artifact)

    @contextmanager
    def lend(self, record: Record, kind: Literal["state", "files"]) -> Iterator[Path]:
        """Lend the recorded bytes as a local file, verified.

        Raises:
            CheckpointError: They are of the other kind, missing or damaged, or the borrower
                finds that it cannot read them.
        """
        where = f"The checkpoint of trial {record.trial} ({self._artifacts.where(record.artifact)})"
        if record.kind != kind:
            methods = {"state": "`inherit` or `load`", "files": "`inherit_path`"}
            raise CheckpointError(f"{where} holds {record.kind}: use {methods[record.kind]}.")
        try:
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

    def remove(self, artifact: str) -> None:
        """Remove bytes, if they are there."""
        self._artifacts.remove(artifact)

    def leftovers(self, study: Study, before: float) -> Iterator[str]:
        """Yield the study's artifacts, temporary files too, that were written before a time."""
        return self._artifacts.leftovers(self._prefix(study), before)


def _prefix_of(study: Study) -> str:
    """Return what the names of a study's artifacts begin with, drawn once and kept in the study.

    Study names may repeat, in other databases; nobody may sweep another's files.
    """
    if read_study_attr(study, _PREFIX_KEY) is None:
        write_study_attr(study, _PREFIX_KEY, f"epbt-{uuid.uuid4().hex[:12]}-")
    return str(read_study_attr(study, _PREFIX_KEY))
