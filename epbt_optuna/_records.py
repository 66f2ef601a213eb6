"""What a trial records of its checkpoint: one system attr, written after the bytes are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from optuna import Trial

from epbt_optuna._optuna import write_system_attr

__all__ = ["Record"]

_CHECKPOINT_KEY = "epbt:checkpoint"


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
    def in_attrs(cls, system_attrs: Mapping[str, Any]) -> Record | None:
        """Return the record in a trial's system attrs, whoever wrote it.

        Optuna copies the attrs of a trial that was cut off to the one that retries it; until that
        one saves, the record is its predecessor's.
        """
        record = system_attrs.get(_CHECKPOINT_KEY)
        return None if record is None else cls(**record)

    @classmethod
    def own(cls, number: int, system_attrs: Mapping[str, Any]) -> Record | None:
        """Return the record of this very trial: not its predecessor's, if it is a retry."""
        record = cls.in_attrs(system_attrs)
        if record is None or ("failed_trial" in system_attrs and record.trial != number):
            return None
        return record

    def write(self, trial: Trial) -> None:
        """Record the checkpoint in a running trial."""
        write_system_attr(trial.study, trial, _CHECKPOINT_KEY, asdict(self))
