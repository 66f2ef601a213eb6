"""What a trial records of its checkpoint: one system attr, written after the bytes are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from optuna import Trial

from epbt_optuna._internal.optuna import write_system_attr

__all__ = ["CheckpointError", "Record"]

_CHECKPOINT_KEY = "epbt:checkpoint"

# JSON's; whoever can write to the database may have written something else.
_TYPES: dict[str, type] = {
    "trial": int,
    "artifact": str,
    "size": int,
    "sha256": str,
    "kind": str,
    "final": bool,
    "format": int,
}


class CheckpointError(RuntimeError):
    """A checkpoint is missing, damaged, or could not be written; the message names the trial."""


@dataclass(frozen=True)
class Record:
    """A trial's checkpoint.

    Attributes:
        trial: Number of the trial that wrote it.
        artifact: Name of its bytes in the store.
        size: How many bytes.
        sha256: Their digest.
        kind: A state, or files.
        final: Whether children may inherit it, or it is from within a generation.
        format: Version of the format.
    """

    trial: int
    artifact: str
    size: int
    sha256: str
    kind: Literal["state", "files"]
    final: bool
    format: int

    @classmethod
    def in_attrs(cls, number: int, system_attrs: Mapping[str, Any]) -> Record | None:
        """Return the record in the system attrs of a trial with this number, whoever wrote it.

        Optuna copies the attrs of a trial that was cut off to the one that retries it; until that
        one saves, the record is its predecessor's. What a newer version may have added to it is
        passed over: `format` says whether this one can read the bytes.

        Raises:
            CheckpointError: The attr is no such record.
        """
        record = system_attrs.get(_CHECKPOINT_KEY)
        if record is None:
            return None
        known = record if isinstance(record, dict) else {}
        values: dict[str, Any] = {name: known.get(name) for name in _TYPES}
        if any(type(values[name]) is not expected for name, expected in _TYPES.items()):
            raise CheckpointError(
                f"The checkpoint of trial {number} has a record that cannot be read: {record!r}."
            )
        return cls(**values)

    @classmethod
    def own(cls, number: int, system_attrs: Mapping[str, Any]) -> Record | None:
        """Return the record of this very trial: not its predecessor's, if it is a retry.

        Raises:
            CheckpointError: The attr is no such record.
        """
        record = cls.in_attrs(number, system_attrs)
        if record is None or ("failed_trial" in system_attrs and record.trial != number):
            return None
        return record

    def write(self, trial: Trial) -> None:
        """Record the checkpoint in a running trial."""
        write_system_attr(trial.study, trial, _CHECKPOINT_KEY, asdict(self))
