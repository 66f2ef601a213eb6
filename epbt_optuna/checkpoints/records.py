"""What a trial records of its checkpoint: one system attr, written after the bytes are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from optuna import Trial

from epbt_optuna._internal.attrs import CHECKPOINT, AttrError
from epbt_optuna._internal.identity import StudyIdentity, retried_numbers
from epbt_optuna._internal.optuna import reports_so_far
from epbt_optuna.checkpoints.calls import has_inherited
from epbt_optuna.population import Lineage

__all__ = ["CheckpointError", "CheckpointRecord", "was_bred_here"]


class CheckpointError(RuntimeError):
    """A checkpoint is missing, damaged, or could not be written; the message names the trial."""


@dataclass(frozen=True)
class CheckpointRecord:
    """A trial's checkpoint.

    Attributes:
        trial: Number of the trial that wrote it.
        artifact: Name of its bytes in the store.
        size: How many bytes.
        sha256: Their digest.
        kind: A state, or files.
        final: Whether children may inherit it, or it is from within a generation.
        format: Version of the format.
        token: The study's token when it was written; None before there were tokens.
        n_reports: How many reports the trial itself had made by then; None in earlier versions.
        inherited: Whether `inherit` was called before; None in earlier versions.
    """

    trial: int
    artifact: str
    size: int
    sha256: str
    kind: Literal["state", "files"]
    final: bool
    format: int
    token: str | None
    n_reports: int | None = None
    inherited: bool | None = None

    @classmethod
    def in_attrs(cls, number: int, system_attrs: Mapping[str, Any]) -> CheckpointRecord | None:
        """Return the record in the system attrs of a trial with this number, whoever wrote it.

        Raises:
            CheckpointError: The attr is no such record.
        """
        try:
            record = CHECKPOINT.of_trial(number, system_attrs)
        except AttrError as error:
            raise CheckpointError(f"The checkpoint of trial {number} is lost: {error}") from error
        return None if record is None else cls(**record)

    @classmethod
    def own(
        cls, number: int, system_attrs: Mapping[str, Any], identity: StudyIdentity | None
    ) -> CheckpointRecord | None:
        """Return the record of what this very trial saved.

        That is its own, or, for a trial that was added from another study, what it saved there.
        It is not its predecessor's, which a retry has in its attrs until it saves itself.

        Args:
            number: The trial's number.
            system_attrs: Its system attrs.
            identity: The study's identity; None where only the trial is known.

        Raises:
            CheckpointError: The attr is no such record.
        """
        record = cls.in_attrs(number, system_attrs)
        if record is None:
            return None
        retried = retried_numbers(system_attrs)
        if identity is None:
            return None if record.trial in retried else record
        located = identity.located(number, record.token, record.artifact)
        record = replace(record, artifact=located)
        is_known = identity.knows(record.token, record.trial, number, system_attrs)
        if is_known and record.trial == number:
            return record
        if was_bred_here(number, system_attrs, identity):
            return None
        is_from_here = record.token in (None, *identity.tokens)
        return None if is_from_here and retried else record

    @classmethod
    def partial(
        cls, number: int, system_attrs: Mapping[str, Any], identity: StudyIdentity
    ) -> CheckpointRecord | None:
        """Return what this trial, or the one that it retries, saved within the generation.

        Raises:
            CheckpointError: The attr is no such record.
        """
        record = cls.in_attrs(number, system_attrs)
        if record is None or record.final:
            return None
        if not identity.knows(record.token, record.trial, number, system_attrs):
            return None
        located = identity.located(record.trial, record.token, record.artifact)
        return replace(record, artifact=located)

    def write(self, trial: Trial) -> None:
        """Record the checkpoint in a running trial, and how far that has come."""
        inherited = has_inherited(trial.study, trial)
        record = replace(self, n_reports=len(reports_so_far(trial)), inherited=inherited)
        CHECKPOINT.write_to_trial(trial.study, trial, asdict(record))


def was_bred_here(number: int, system_attrs: Mapping[str, Any], identity: StudyIdentity) -> bool:
    """Tell whether a trial was asked in this study, and so would have a record of its own."""
    try:
        return Lineage.recorded(number, system_attrs, identity) is not None
    except AttrError:  # damaged, but there is one
        return True
