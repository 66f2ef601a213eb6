"""What a collection would remove now: by the records of trials, and by the files that are there."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from optuna import Study

from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna.checkpoints.retention import Keep, Retention
from epbt_optuna.checkpoints.verified import RecordedArtifacts

__all__ = ["Garbage", "find_garbage"]


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


def find_garbage(
    study: Study, artifacts: RecordedArtifacts, retention: Retention, keep: Keep, before: float
) -> list[Garbage]:
    """Return the study's own checkpoints that nobody needs, and what crashed writers left.

    Args:
        study: The study.
        artifacts: Where its checkpoints are.
        retention: What has been read of it.
        keep: As for `CheckpointStore.collect`.
        before: Files without a record are left behind if they were last written before this time,
            in seconds since 1970.
    """
    identity = StudyIdentity.of(study)
    # Files are listed before trials are read: what a trial records in between is no leftover, and
    # a checkpoint that is saved in between is not in the list.
    there = artifacts.listing(identity)
    garbage = [
        Garbage(number, record.artifact, record.size)
        for number, record in retention.garbage(study, keep, datetime.now()).items()
        if artifacts.owns(identity, record.artifact) and (there is None or record.artifact in there)
    ]
    recorded = retention.recorded
    leftovers = (
        Garbage(None, name, file.st_size)
        for name, file in sorted((there or {}).items())
        if name not in recorded and file.st_mtime < before
    )
    return [*garbage, *leftovers]
