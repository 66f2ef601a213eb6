"""Weight inheritance: checkpoints handed from parent to child through any Optuna study."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, overload

from optuna import Study, Trial
from optuna.trial import FrozenTrial

from epbt_optuna._internal.attrs import AttrError, pass_over
from epbt_optuna._internal.checks import check_number
from epbt_optuna._internal.extras import needs
from epbt_optuna._internal.per_study import PerStudy
from epbt_optuna.checkpoints.archives import check_packable, pack, unpack, vacant
from epbt_optuna.checkpoints.artifacts import ArtifactStore, artifacts_in
from epbt_optuna.checkpoints.garbage import Garbage, find_garbage
from epbt_optuna.checkpoints.inheritance import inherit_by, record_saved_by
from epbt_optuna.checkpoints.records import CheckpointError, CheckpointRecord
from epbt_optuna.checkpoints.retention import Keep, Retention
from epbt_optuna.checkpoints.verified import RecordedArtifacts

__all__ = ["CheckpointError", "CheckpointStore"]


class CheckpointStore:
    """Saves the states of trials and lets children inherit their parent's.

    A state is any nesting of dicts, lists and tuples of tensors, numbers, strings and None:
    model, optimizer (momentum), scheduler, epoch, random states, all that training goes on
    from. It is written by `torch.save`, whole or not at all, and read back verified and with
    `weights_only=True`, so a checkpoint never runs code. States need torch (extra `torch`),
    files and folders do not.

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
        self._artifacts = RecordedArtifacts(artifacts_in(store))
        self._retention = PerStudy(Retention)

    def save(self, trial: Trial, state: Any, *, final: bool = True) -> None:
        """Save the state that children of this trial will start from.

        Call it before the trial ends. Every call replaces what the trial saved before.

        Args:
            trial: The running trial.
            state: Any nesting of dicts, lists and tuples of tensors, numbers, strings and None.
            final: False for a checkpoint from within the generation: children never start from
                it, but if the trial is cut off and retried, the retry does.

        Raises:
            TypeError: The state holds something that could not be read back safely; the message
                names its key. Nothing is written then.
            CheckpointError: The bytes could not be stored, or the trial has ended.
        """
        with needs("torch", "`CheckpointStore.save`"):
            from epbt_optuna.checkpoints.states import safe_state, write_state

        safe = safe_state(state)
        study = trial.study.study_name
        self._artifacts.write(
            trial, "state", final, lambda file: write_state(file, safe, study, trial.number)
        )

    def save_path(self, trial: Trial, path: str | os.PathLike[str], *, final: bool = True) -> None:
        """Save a file or a folder that a framework wrote, in place of a state.

        For checkpoints of Lightning, Hugging Face or `torch.distributed.checkpoint`. The bytes
        are streamed, not held in memory; symbolic links are followed. What is in the files is
        the framework's affair: load them as safely as it allows.

        Args:
            trial: The running trial.
            path: The file or folder; it may be deleted afterwards.
            final: As for `save`.

        Raises:
            ValueError: There is no such file or folder, or it holds sockets or the like.
            CheckpointError: The bytes could not be stored, or the trial has ended.
        """
        check_packable(Path(path))
        self._artifacts.write(trial, "files", final, lambda file: pack(Path(path), file))

    def inherit(
        self,
        trial: Trial,
        *,
        map_location: Any = "cpu",
        missing: Literal["error", "fresh"] = "error",
        mmap: bool = False,
    ) -> Any | None:
        """Return the state that the trial starts from: its parent's; None for a founder.

        A trial that retries one that was cut off starts from what that one last saved with
        `final=False`, if it did.

        Args:
            trial: The running trial.
            map_location: Where tensors go, as for `torch.load`.
            missing: What a parent that saved no checkpoint means. `"error"`: a forgotten
                `save` must not silently train from scratch. `"fresh"`: start from fresh
                weights. A parent that no sampler of ours bred (`study.add_trial`, another
                sampler's trials) may always lack one.
            mmap: Whether to map the file into memory (POSIX only; of an artifact store, the
                downloaded copy). Tensors then stay on disk until they are used, and later writes
                to the file show in them.

        Returns:
            The state, verified; None where the trial starts from fresh weights.

        Raises:
            ValueError: `missing` is neither `"error"` nor `"fresh"`.
            CheckpointError: The parent saved no checkpoint, or it is missing or damaged.
        """
        return inherit_by(
            trial, missing, lambda record: self._read_state(record, map_location, mmap)
        )

    def inherit_path(
        self,
        trial: Trial,
        destination: str | os.PathLike[str] | None = None,
        *,
        missing: Literal["error", "fresh"] = "error",
    ) -> Path | None:
        """Restore the file or folder that the trial starts from; None for a founder.

        Args:
            trial: The running trial.
            destination: Where the file or folder is put; must not exist yet. Default: a temporary
                folder that lives until the trial ends; a single file keeps its name in there.
            missing: As for `inherit`.

        Returns:
            Where it is, or None where the trial starts from fresh weights.

        Raises:
            ValueError: `destination` exists, or `missing` is neither `"error"` nor `"fresh"`.
            CheckpointError: The parent saved no checkpoint, or it is missing or damaged.
        """
        if destination is None:
            folder = Path(tempfile.mkdtemp(prefix=f"epbt-trial-{trial.number}-"))
            weakref.finalize(trial, shutil.rmtree, folder, ignore_errors=True)
            return inherit_by(
                trial, missing, lambda record: self._restore_files(record, folder / "parent", True)
            )
        target = vacant(destination)
        return inherit_by(trial, missing, lambda record: self._restore_files(record, target))

    def load(
        self, trial: Trial | FrozenTrial, *, map_location: Any = "cpu", mmap: bool = False
    ) -> Any:
        """Return the state that a trial saved, for example `load(study.best_trial)`.

        Args:
            trial: Any trial, running or finished.
            map_location: Where tensors go, as for `torch.load`.
            mmap: As for `inherit`.

        Raises:
            CheckpointError: The trial saved no checkpoint, or it is missing or damaged.
        """
        return self._read_state(record_saved_by(trial), map_location, mmap)

    def load_path(self, trial: Trial | FrozenTrial, destination: str | os.PathLike[str]) -> Path:
        """Restore the file or folder that a trial saved, for example `study.best_trial`'s.

        Args:
            trial: Any trial, running or finished.
            destination: Where the file or folder is put; must not exist yet.

        Returns:
            `destination`.

        Raises:
            ValueError: `destination` exists.
            CheckpointError: The trial saved no checkpoint, or it is missing or damaged.
        """
        return self._restore_files(record_saved_by(trial), vacant(destination))

    @overload
    def collect(
        self, study: Study, *, keep: Keep = ..., grace: float = ..., dry_run: Literal[False] = ...
    ) -> list[int]: ...

    @overload
    def collect(
        self, study: Study, *, keep: Keep = ..., grace: float = ..., dry_run: Literal[True]
    ) -> list[Garbage]: ...

    def collect(
        self,
        study: Study,
        *,
        keep: Keep = "population",
        grace: float = 3600.0,
        dry_run: bool = False,
    ) -> list[int] | list[Garbage]:
        """Remove the checkpoints that no trial can need any more.

        Kept is, by ancestry: everybody who may still become a parent, the parents of unfinished
        trials, and the best trial. Safe while any number of workers is at work, and several may
        collect at once. In a folder, what crashed writers left behind is swept too: bytes that
        no trial recorded and temporary files, of this study only.

        Args:
            study: A study that a sampler of ours breeds in.
            keep: `"population"`: as above. `"lineage"`: also all ancestors of those, mates
                included. `"all"`: every recorded checkpoint; only leftovers are swept.
            grace: Seconds after which bytes without a record count as left behind: longer than
                it takes to write a checkpoint.
            dry_run: Remove nothing.

        Returns:
            The numbers of the trials whose checkpoints were removed. With `dry_run`, what would
            be removed now: `Garbage(trial, artifact, size)` each.

        Raises:
            ValueError: `keep` is unknown, `grace` is negative, or no sampler of ours has asked a
                trial in the study.
        """
        if keep not in get_args(Keep):
            raise ValueError(f"`keep` must be one of {get_args(Keep)} but got {keep!r}.")
        check_number("grace", grace, at_least=0)
        retention = self._retention(study)
        garbage = find_garbage(study, self._artifacts, retention, keep, time.time() - grace)
        if dry_run:
            return garbage
        removed = []
        for trial, artifact, _ in garbage:
            if self._artifacts.remove(artifact) and trial is not None:
                retention.forget(trial)
                removed.append(trial)
        return removed

    def collector(self, keep: Keep = "population") -> Callable[[Study, FrozenTrial], None]:
        """Return a study callback that collects at the end of each generation.

        Args:
            keep: As for `collect`.

        Example:
            ```python
            study.optimize(objective, callbacks=[checkpoints.collector()])
            ```
        """

        def collect_after_generation(study: Study, trial: FrozenTrial) -> None:
            try:
                if self._retention(study).ends_generation(trial.number):
                    self.collect(study, keep=keep)
            except AttrError as error:  # no reason to end a run: what is garbage may stay
                pass_over(str(error))

        return collect_after_generation

    def _read_state(self, record: CheckpointRecord, map_location: Any, mmap: bool) -> Any:
        with needs("torch", "`CheckpointStore.inherit` or `load`"):
            from epbt_optuna.checkpoints.states import read_state

        with self._artifacts.open(record, "state") as file:
            return read_state(file, map_location, mmap=mmap)

    def _restore_files(
        self, record: CheckpointRecord, destination: Path, keep_name: bool = False
    ) -> Path:
        with self._artifacts.open(record, "files") as file:
            return unpack(file, destination, keep_name=keep_name)
