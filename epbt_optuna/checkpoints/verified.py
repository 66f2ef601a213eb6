"""Bytes and their records together: stored before they are recorded, verified before they are lent.

A trial's record is written when its bytes are safely stored, so no record ever points to bytes
that are not there.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Literal

from optuna import Trial
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.exceptions import UpdateFinishedTrialError

from epbt_optuna._internal.identity import StudyIdentity, prefix_of
from epbt_optuna._internal.optuna import read_system_attrs
from epbt_optuna.checkpoints.artifacts import Artifacts
from epbt_optuna.checkpoints.records import CheckpointError, CheckpointRecord
from epbt_optuna.checkpoints.states import FORMAT, UnreadableError, check_format, digest_of

__all__ = ["Vault"]


class Vault:
    """Stores, verifies and removes what the trials of a study record.

    Args:
        artifacts: Where the bytes live. Several studies may share one place.
    """

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts

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
        identity = StudyIdentity.drawn(trial.study, n_trials=trial.number)
        token = identity.own[0]
        replaced = CheckpointRecord.own(
            trial.number, read_system_attrs(trial.study, trial), identity
        )
        suffix = "pt" if kind == "state" else "tar"
        artifact = f"{prefix_of(token)}{trial.number:06d}-{uuid.uuid4().hex}.{suffix}"
        try:
            with self._artifacts.writing(artifact) as file:
                size, sha256 = write(file)
        except Exception as error:
            raise CheckpointError(
                f"The checkpoint of trial {trial.number} could not be written to "
                f"{self._artifacts.where(artifact)}: {error}"
            ) from error
        try:
            CheckpointRecord(
                trial.number, artifact, size, sha256, kind, final, FORMAT, token
            ).write(trial)
        except UpdateFinishedTrialError as error:
            self._artifacts.remove(artifact)
            raise CheckpointError(
                f"Trial {trial.number} has ended; save its checkpoint before it is told."
            ) from error
        if replaced is not None:
            with suppress(Exception):  # the new checkpoint stands; the old one is mere garbage
                if self.owns(identity, replaced.artifact):
                    self._artifacts.remove(replaced.artifact)

    @contextmanager
    def lend(self, record: CheckpointRecord, kind: Literal["state", "files"]) -> Iterator[Path]:
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

    def owns(self, identity: StudyIdentity, artifact: str) -> bool:
        """Return whether bytes are a study's to remove.

        A trial that was added from another study brings the record of that one's bytes along, and
        so does a copy of a whole study.
        """
        return artifact.startswith(identity.prefixes)

    def remove(self, artifact: str) -> None:
        """Remove bytes, if they are there."""
        self._artifacts.remove(artifact)

    def listing(self, identity: StudyIdentity) -> dict[str, os.stat_result] | None:
        """Return a study's artifacts that are there; None where that cannot be known."""
        return self._artifacts.listing(identity.prefixes)


def _check_kind(recorded: str, expected: str) -> None:
    if recorded != expected:
        methods = {"state": "`inherit` or `load`", "files": "`inherit_path`"}
        raise UnreadableError(f"it holds {recorded}: use {methods.get(recorded, 'what wrote it')}")
