"""Branches: a copy of a study that goes on beside its original, in the same store."""

from __future__ import annotations

from collections.abc import Mapping

from optuna import Study

from epbt_optuna._internal.artifact_names import ArtifactName, new_token
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.text import get_logger
from epbt_optuna.checkpoints.records import CheckpointRecord
from epbt_optuna.checkpoints.retention import Keep, Retention
from epbt_optuna.checkpoints.store import CheckpointStore
from epbt_optuna.checkpoints.verified import RecordedArtifacts

__all__ = ["branch"]

_logger = get_logger("epbt_optuna.checkpoints")


def branch(
    study: Study, checkpoints: CheckpointStore | None = None, *, keep: Keep = "population"
) -> list[int]:
    """Make a copy of a study independent of its original, so that both can go on.

    A copied database file, and a study that `optuna.copy_study` copied under the same name into
    an empty database, look like their original from inside: each of the two would remove the
    checkpoints that the other one saves. Call this once in the copy, before its first trial and
    while no worker is at work on it. From then on it is a study of its own, and so is what it
    shows in MLflow. What its population needs is copied in the store, under names of its own; all
    other checkpoints that it had remain the original's: they are read while they are there.

    It also helps a copy under another name, whose original may remove what the copy still needs.

    Args:
        study: The copy.
        checkpoints: Where it saves; may be left out if it has saved nothing.
        keep: What is copied, as for `CheckpointStore.collect`.

    Returns:
        The numbers of the trials whose checkpoints were copied. Of those that are needed and gone,
        because the original has removed them since, a warning in the log gives the numbers.

    Raises:
        ValueError: No sampler of ours has asked a trial in the study, or `checkpoints` is missing.
        CheckpointError: A checkpoint cannot be copied. Nothing has changed then.
    """
    retention = Retention(study)
    retention.garbage(study, "all")
    retention.end_collection(())  # what failed long ago needs nothing any more
    needed = retention.needed(study, keep)
    if checkpoints is None and needed:
        raise ValueError(
            f"`checkpoints` must be the store of study {study.study_name!r}, which has saved "
            "checkpoints, but got None."
        )
    token = new_token()
    copied: list[int] = []
    if checkpoints is not None:
        copied = _copy(needed, token, checkpoints._artifacts)
    # The bytes before the records, as always: a study that was cut off here is as it was.
    StudyIdentity.branch_off(study, token, retention.n_trials, copied)
    if lost := sorted(needed.keys() - set(copied)):
        _logger.warning(
            "Study %r branched off without the checkpoints of trials %s, which are gone or "
            "damaged: their children cannot inherit.",
            study.study_name,
            ", ".join(map(str, lost)),
        )
    return copied


def _copy(
    needed: Mapping[int, CheckpointRecord], token: str, artifacts: RecordedArtifacts
) -> list[int]:
    """Copy checkpoints to a token's names; return the numbers of those that are there."""
    copies: dict[int, str] = {}
    try:
        for number, record in sorted(needed.items()):
            if (name := ArtifactName.parsed(record.artifact)) is not None:
                copy = str(name.copied(token, number))
                if artifacts.copy(record, copy):
                    copies[number] = copy
    except BaseException:
        for copy in copies.values():
            artifacts.remove(copy)
        raise
    return list(copies)
