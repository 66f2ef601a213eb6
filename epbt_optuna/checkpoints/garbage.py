"""Collecting: what nobody needs goes, by the records of trials and the files that are there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple, get_args
from weakref import WeakKeyDictionary

from optuna import Study
from optuna.trial import FrozenTrial

from epbt_optuna._internal.artifact_names import ArtifactName
from epbt_optuna._internal.attrs import pass_over
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import read_trial
from epbt_optuna._internal.per_study import PerStudy
from epbt_optuna._internal.text import get_logger
from epbt_optuna.checkpoints.records import CheckpointError, CheckpointRecord
from epbt_optuna.checkpoints.retention import Keep, Retention
from epbt_optuna.checkpoints.verified import RecordedArtifacts

__all__ = ["Collector", "Garbage", "check_keep"]

_logger = get_logger("epbt_optuna.checkpoints")


class Garbage(NamedTuple):
    """What a collection removes.

    Attributes:
        trial: The trial that saved it; None for what a crashed writer left behind.
        artifact: Its name in the store; in a folder, the file's.
        size: Bytes.
    """

    trial: int | None
    artifact: str
    size: int


class Collector:
    """Removes the checkpoints of studies from one store, and keeps what it has read of each.

    Args:
        artifacts: The store.
    """

    def __init__(self, artifacts: RecordedArtifacts) -> None:
        self._artifacts = artifacts
        self._retention = PerStudy(Retention)
        self._tokens: WeakKeyDictionary[Study, str | None] = WeakKeyDictionary()

    def __reduce__(self) -> tuple[type[Collector], tuple[RecordedArtifacts]]:
        return Collector, (self._artifacts,)  # what it has read can all be read again

    def find(self, study: Study, keep: Keep, grace: float) -> list[Garbage]:
        """Return what a collection would remove now.

        Raises:
            CheckpointError: The store's folder cannot be listed.
            ValueError: No sampler of ours has asked a trial in the study.
        """
        identity, retention = StudyIdentity.of(study), self._retention(study)
        if self._was_deleted(study, identity):
            pass_over(
                f"Study {study.study_name!r} was deleted, and another one has its id: load that "
                "anew to collect its checkpoints."
            )
            return []
        # Files are listed before trials are read: what a trial records in between is no leftover,
        # and a checkpoint that is saved in between is not in the list.
        before = time.time() - grace
        there = self._artifacts.listing(identity)
        garbage = [
            Garbage(number, record.artifact, record.size)
            for number, record in retention.garbage(study, keep).items()
            if identity.owns(record.artifact, number)
            and (there is None or record.artifact in there)
        ]
        recorded = retention.recorded
        leftovers = (
            Garbage(None, file, status.st_size)
            for file, status in sorted((there or {}).items())
            if (name := ArtifactName.of_file(file)) is not None
            and name.prefix in identity.prefixes
            and file not in recorded
            and status.st_mtime < before
        )
        return [*garbage, *leftovers]

    def collect(self, study: Study, keep: Keep, grace: float) -> list[int]:
        """Remove what `find` returns; return the numbers of the trials whose checkpoints it was.

        Raises:
            As `find`.
        """
        removed = list(self._remove(study, self.find(study, keep, grace)))
        self._retention(study).end_collection(removed)
        return removed

    def after_trial(self, study: Study, trial: FrozenTrial, keep: Keep, grace: float) -> None:
        """Collect where it is time, as a callback that never ends a run.

        What is garbage may as well stay until the next time: a folder or a database that does not
        answer for a moment, or records that cannot be read, are a line in the log.
        """
        try:
            identity = StudyIdentity.of(study)
            self._was_deleted(study, identity)  # notes whose checkpoints this is to collect
            if self._retention(study, identity).is_due(trial.number):
                self.collect(study, keep, grace)
        except ValueError as error:  # something is wrong with the study, and will be
            pass_over(str(error))
        except Exception as error:
            kind = type(error).__name__
            _logger.warning("No checkpoints were collected this time: %s: %s", kind, error)

    def _was_deleted(self, study: Study, identity: StudyIdentity) -> bool:
        """Tell whether this object was opened for a study that another has taken the id of.

        A worker of the former study that is still at work asks and trains in the new one. It must
        not remove what others have saved there. A branch goes on as the study that it was.
        """
        token = self._tokens.setdefault(study, identity.token)
        return token is not None and token not in identity.tokens

    def _remove(self, study: Study, garbage: list[Garbage]) -> Iterator[int]:
        identity = StudyIdentity.of(study)
        for trial, artifact, _ in garbage:
            # What an ended trial has recorded stays its record: need not be read again. But a
            # writer that slept longer than the grace period may record its bytes any moment.
            if trial is None:
                self._artifacts.sweep(artifact, partial(_is_recorded, study, identity, artifact))
            elif self._artifacts.remove(artifact):
                yield trial


def check_keep(keep: str) -> None:
    """Raise unless this is one of the ways to say what is kept.

    Raises:
        ValueError: It is none.
    """
    if keep not in get_args(Keep):
        raise ValueError(f"`keep` must be one of {get_args(Keep)} but got {keep!r}.")


def _is_recorded(study: Study, identity: StudyIdentity, file: str) -> bool:
    """Tell whether the trial that a file is named for has recorded it, or may have."""
    name = ArtifactName.of_file(file)
    trial = None if name is None else read_trial(study, name.trial)
    if trial is None:
        return False
    try:
        record = CheckpointRecord.own(trial.number, trial.system_attrs, identity)
    except CheckpointError:  # damaged, or of a newer version: nobody knows what it records
        return True
    return record is not None and record.artifact == str(name)
