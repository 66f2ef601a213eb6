"""Weight inheritance: checkpoints handed from parent to child through any Optuna study.

Bytes first, then the record: a trial's record (artifact, size, digest) is written when its
bytes are safely stored, so no record ever points to bytes that are not there.
"""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from optuna import Trial
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial

from epbt_optuna._artifacts import Artifacts, ArtifactStore, FolderArtifacts, StoreArtifacts
from epbt_optuna._optuna import read_system_attrs, read_trial, write_system_attr
from epbt_optuna._serialization import (
    FORMAT,
    UnreadableError,
    digest_of,
    read_state,
    safe_state,
    write_state,
)
from epbt_optuna.population import Lineage

__all__ = ["CheckpointError", "CheckpointStore"]

_CHECKPOINT_KEY = "epbt:checkpoint"


class CheckpointError(RuntimeError):
    """A checkpoint is missing, damaged, or could not be written; the message names the trial."""


@dataclass(frozen=True)
class _Record:
    """What a trial says of its checkpoint."""

    format: int
    trial: int
    artifact: str
    size: int
    sha256: str


class CheckpointStore:
    """Saves the states of trials and lets children inherit their parent's.

    A state is any nesting of dicts, lists and tuples of tensors, numbers, strings and None:
    model, optimizer (momentum), scheduler, epoch, random states, all that training goes on
    from. It is written by `torch.save`, whole or not at all, and read back verified and with
    `weights_only=True`, so a checkpoint never runs code.

    Args:
        store: A local folder, made when it is first written to, or an artifact store of Optuna
            (`optuna.artifacts.FileSystemArtifactStore`, `Boto3ArtifactStore`, …). Workers on
            several machines need one that all of them reach.

    Raises:
        TypeError: `store` is neither a path nor an artifact store.

    Example:
        ```python
        checkpoints = CheckpointStore("checkpoints")

        def objective(trial):
            model = build()
            if (state := checkpoints.inherit(trial)) is not None:
                model.load_state_dict(state["model"])
            train(model)
            checkpoints.save(trial, {"model": model.state_dict()})
            return accuracy(model)
        ```
    """

    def __init__(self, store: str | os.PathLike[str] | ArtifactStore) -> None:
        self._artifacts: Artifacts
        if isinstance(store, str | os.PathLike):
            self._artifacts = FolderArtifacts(Path(store))
        elif all(hasattr(store, name) for name in ("open_reader", "write", "remove")):
            self._artifacts = StoreArtifacts(store)
        else:
            raise TypeError(
                f"`store` must be a path or an Optuna artifact store but got {store!r}."
            )

    def save(self, trial: Trial, state: Any) -> None:
        """Save the state that children of this trial will start from.

        Call it before the trial ends. A second call replaces the first.

        Args:
            trial: The running trial.
            state: Any nesting of dicts, lists and tuples of tensors, numbers, strings and None.

        Raises:
            TypeError: The state holds something that could not be read back safely; the message
                names its key. Nothing is written then.
            CheckpointError: The bytes could not be stored, or the trial has ended.
        """
        state = safe_state(state)
        replaced = self._record(trial.number, read_system_attrs(trial.study, trial))
        artifact = f"epbt-{trial.number:06d}-{uuid.uuid4().hex}.pt"
        try:
            with self._artifacts.writing(artifact) as file:
                size, digest = write_state(
                    file, state, study=trial.study.study_name, trial=trial.number
                )
        except Exception as error:
            raise CheckpointError(
                f"The checkpoint of trial {trial.number} could not be written to "
                f"{self._artifacts.where(artifact)}: {error}"
            ) from error
        record = _Record(FORMAT, trial.number, artifact, size, digest)
        try:
            write_system_attr(trial.study, trial, _CHECKPOINT_KEY, asdict(record))
        except UpdateFinishedTrialError as error:
            self._artifacts.remove(artifact)
            raise CheckpointError(
                f"Trial {trial.number} has ended; call `save` before it is told."
            ) from error
        if replaced is not None:
            with suppress(Exception):  # the new checkpoint stands; the old one is mere garbage
                self._artifacts.remove(replaced.artifact)

    def inherit(
        self,
        trial: Trial,
        *,
        map_location: Any = "cpu",
        missing: Literal["error", "fresh"] = "error",
    ) -> Any | None:
        """Return the state that the trial's parent saved; None for a founder.

        Args:
            trial: The running trial.
            map_location: Where tensors go, as for `torch.load`.
            missing: What a parent that saved no checkpoint means. `"error"`: a forgotten
                `save` must not silently train from scratch. `"fresh"`: start from fresh
                weights. A parent that no sampler of ours bred (`study.add_trial`, another
                sampler's trials) may always lack one.

        Returns:
            The parent's state, verified; None where the trial starts from fresh weights.

        Raises:
            ValueError: `missing` is neither `"error"` nor `"fresh"`.
            CheckpointError: The parent saved no checkpoint, or it is missing or damaged.
        """
        if missing not in ("error", "fresh"):
            raise ValueError(f"`missing` must be 'error' or 'fresh' but got {missing!r}.")
        lineage = Lineage.recorded(trial.number, read_system_attrs(trial.study, trial))
        if lineage is None or lineage.parent is None:
            return None
        parent = read_trial(trial.study, lineage.parent)
        if parent is None:
            raise CheckpointError(
                f"Trial {lineage.parent}, the parent of trial {trial.number}, does not exist."
            )
        record = self._record(parent.number, parent.system_attrs)
        if record is not None:
            return self._read(parent.number, record, map_location)
        bred_by_us = Lineage.recorded(parent.number, parent.system_attrs) is not None
        if missing == "fresh" or not bred_by_us:
            return None
        raise CheckpointError(
            f"Trial {parent.number}, the parent of trial {trial.number}, saved no checkpoint. "
            "Call `save` in the objective before it returns, or pass `missing='fresh'` if fresh "
            "weights are meant."
        )

    def load(self, trial: Trial | FrozenTrial, *, map_location: Any = "cpu") -> Any:
        """Return the state that a trial saved, for example `load(study.best_trial)`.

        Args:
            trial: Any trial, running or finished.
            map_location: Where tensors go, as for `torch.load`.

        Raises:
            CheckpointError: The trial saved no checkpoint, or it is missing or damaged.
        """
        attrs = (
            read_system_attrs(trial.study, trial)
            if isinstance(trial, Trial)
            else trial.system_attrs
        )
        record = self._record(trial.number, attrs)
        if record is None:
            raise CheckpointError(f"Trial {trial.number} saved no checkpoint.")
        return self._read(trial.number, record, map_location)

    def _record(self, number: int, system_attrs: Any) -> _Record | None:
        """Return the trial's own record, not that of the trial it retries, which Optuna copies."""
        record = system_attrs.get(_CHECKPOINT_KEY)
        if record is None or ("failed_trial" in system_attrs and record["trial"] != number):
            return None
        return _Record(**record)

    def _read(self, number: int, record: _Record, map_location: Any) -> Any:
        where = f"The checkpoint of trial {number} ({self._artifacts.where(record.artifact)})"
        try:
            with self._artifacts.reading(record.artifact) as path:
                if (size := path.stat().st_size) != record.size:
                    raise CheckpointError(
                        f"{where} is damaged: {size} bytes, but {record.size} were written."
                    )
                if (digest := digest_of(path)) != record.sha256:
                    raise CheckpointError(
                        f"{where} is damaged: its SHA-256 is {digest}, but {record.sha256} was "
                        "written."
                    )
                return read_state(path, map_location)
        except ArtifactNotFound as error:
            raise CheckpointError(f"{where} is missing.") from error
        except (OSError, ValueError, UnreadableError) as error:
            raise CheckpointError(f"{where} cannot be read: {error}.") from error
