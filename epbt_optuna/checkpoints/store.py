"""Weight inheritance: checkpoints handed from parent to child through any Optuna study."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, Literal, overload

from optuna import Study, Trial
from optuna.trial import FrozenTrial

from epbt_optuna._internal.checks import check_boolean, check_number
from epbt_optuna._internal.extras import needs
from epbt_optuna._internal.paths import AnyPath, local_path
from epbt_optuna.checkpoints.archives import check_packable, pack, vacant
from epbt_optuna.checkpoints.garbage import Collector, Garbage, check_keep
from epbt_optuna.checkpoints.inheritance import inherit_by, record_saved_by
from epbt_optuna.checkpoints.mixed import averaging_by
from epbt_optuna.checkpoints.retention import Keep
from epbt_optuna.checkpoints.running import AnyTrial, can_save
from epbt_optuna.checkpoints.stores import Place, artifacts_in
from epbt_optuna.checkpoints.verified import RecordedArtifacts

__all__ = ["CheckpointStore"]

_GRACE = 3600.0  # seconds


class CheckpointStore:
    """Saves the states of trials and lets children inherit their parent's.

    A state is any nesting of dicts, lists, tuples and sets of tensors, NumPy's arrays, numbers,
    strings, bytes and None: model, optimizer (momentum), scheduler, epoch, random states, all
    that training goes on from. It is written by `torch.save`, whole or not at all, and read back
    verified and with `weights_only=True`, so a checkpoint never runs code. States need torch
    (extra `torch`), files and folders do not.

    Args:
        store: A local folder, made when it is first written to, or an artifact store of Optuna
            (`optuna.artifacts.FileSystemArtifactStore`, `Boto3ArtifactStore`, …), or a function
            without arguments that makes one, once in each process. A relative folder is the one
            that it is now, wherever the working directory moves. Workers on several machines
            need a store that all of them reach.

    Raises:
        TypeError: `store` is none of these.
        ValueError: It is a URL.

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

    def __init__(self, store: Place) -> None:
        self._artifacts = RecordedArtifacts(artifacts_in(store))
        self._collector = Collector(self._artifacts)

    def save(self, trial: AnyTrial, state: Any, *, final: bool = True) -> None:
        """Save the state that children of this trial will start from.

        Call it before the trial ends. Every call replaces what the trial saved before.

        Args:
            trial: The live trial. With any other that an objective may be run again with, such
                as `study.best_trial` or a `FixedTrial`, nothing is saved, and the log says so.
            state: As above. Tensors that share memory share it again when they are read.
            final: False for a checkpoint from within the generation: children never start from
                it, but if the trial is cut off and retried, the retry does.

        Raises:
            TypeError: `trial` is no trial of an objective, or `final` is neither True nor False; or
                the state holds something that could not be read back safely, or not as it is, and
                the message names its key. Nothing is written then.
            ValueError: A tensor has no data.
            CheckpointError: The bytes could not be stored, or the trial has ended.
        """
        check_boolean("final", final)
        if not can_save(trial):
            return
        with needs("torch", "`CheckpointStore.save`"):
            from epbt_optuna.checkpoints.states import safe_state, write_state

        safe = safe_state(state)
        study = trial.study.study_name
        self._artifacts.write(
            trial, "state", final, lambda file: write_state(file, safe, study, trial.number)
        )

    def save_path(self, trial: AnyTrial, path: AnyPath, *, final: bool = True) -> None:
        """Save a file or a folder that a framework wrote, in place of a state.

        For checkpoints of Lightning, Hugging Face or `torch.distributed.checkpoint`. The bytes
        are streamed, not held in memory; symbolic links are followed. What is in the files is
        the framework's affair: load them as safely as it allows.

        Args:
            trial: As for `save`.
            path: The file or folder; it may be deleted afterwards.
            final: As for `save`.

        Raises:
            TypeError: As for `save`, of `trial` and `final`.
            ValueError: There is no such file or folder, or it holds sockets or the like.
            CheckpointError: The bytes could not be stored, or the trial has ended.
        """
        check_boolean("final", final)
        if not can_save(trial):
            return
        source = local_path("path", path)
        check_packable(source)
        self._artifacts.write(trial, "files", final, lambda file: pack(source, file))

    def inherit(
        self,
        trial: AnyTrial,
        *,
        map_location: Any = "cpu",
        missing: Literal["error", "fresh"] = "error",
        mmap: bool = False,
        mate_weight: float = 0.0,
        only: Collection[str] | None = None,
    ) -> Any | None:
        """Return the state that the trial starts from: its parent's; None for a founder.

        A trial that retries one that was cut off starts from what that one last saved with
        `final=False`, if it did; a trial never starts from what its own run has saved.

        With `mate_weight` w, the model's floating tensors, its normalisation statistics and the
        moments of optimizers are (1 − w)·parent + w·mate, computed in float32; all else is the
        parent's. Train before you evaluate. Where the mate's checkpoint cannot be read or does not
        fit, or a result is not finite, the parent's stays as it is, and a line in the log says why.

        Args:
            trial: The live trial. Others that an objective may be run again with, such as
                `study.best_trial` or a `FixedTrial`, inherit None, with `missing="fresh"` only.
            map_location: Where tensors go, as for `torch.load`.
            missing: What a parent that saved no checkpoint means. `"error"`: a forgotten `save`,
                or sampler when the study was opened, must not silently train from scratch.
                `"fresh"`: start from fresh weights. A parent that no sampler of ours bred
                (`study.add_trial`, another sampler's trials) may always lack one.
            mmap: Whether to map the file into memory (POSIX only; of an artifact store, the
                downloaded copy). Tensors then stay on disk until they are used, and later writes
                to the file show in them.
            mate_weight: The mate's share, in [0, 1]. Default: the paper's 0, which reads nothing
                of the mate. Trials without a mate, such as all of PBT's, start from their parent.
            only: The top-level keys of what is averaged, such as `{"model"}`. Default: all.

        Returns:
            The state, verified; None where the trial starts from fresh weights.

        Raises:
            TypeError: `trial` is not live.
            ValueError: `missing` is neither `"error"` nor `"fresh"`, `map_location` is a device
                that is not here, `mate_weight` is not in [0, 1], or the state has no such key as
                `only` names.
            CheckpointError: The parent saved no checkpoint, or it is missing or damaged; or the
                trial was asked by another sampler, in a study that one of ours has begun.
        """
        averaging = averaging_by(mate_weight, only)
        read = partial(self._artifacts.read_state, map_location=map_location, mmap=mmap)
        return inherit_by(trial, missing, read, averaging)

    def inherit_path(
        self,
        trial: AnyTrial,
        destination: AnyPath | None = None,
        *,
        missing: Literal["error", "fresh"] = "error",
    ) -> Path | None:
        """Restore the file or folder that the trial starts from; None for a founder.

        Args:
            trial: As for `inherit`.
            destination: Where the file or folder is put; must not exist yet. Default: a temporary
                folder that lives until the trial ends; a single file keeps its name in there.
            missing: As for `inherit`.

        Returns:
            Where it is, absolute, or None where the trial starts from fresh weights.

        Raises:
            TypeError: As for `inherit`.
            ValueError: `destination` exists, or `missing` is neither `"error"` nor `"fresh"`.
            CheckpointError: As for `inherit`.
        """
        target = vacant(destination)
        return inherit_by(trial, missing, lambda r: self._artifacts.restore_files(r, target, trial))

    def load(
        self, trial: Trial | FrozenTrial, *, map_location: Any = "cpu", mmap: bool = False
    ) -> Any:
        """Return the state that a trial saved, for example `load(study.best_trial)`.

        Args:
            trial: Any trial, running or finished.
            map_location: Where tensors go, as for `torch.load`.
            mmap: As for `inherit`.

        Raises:
            TypeError: `trial` is no trial of a study.
            ValueError: `map_location` is a device that is not here.
            CheckpointError: The trial saved no checkpoint, or it is missing or damaged.
        """
        return self._artifacts.read_state(record_saved_by(trial), map_location, mmap=mmap)

    def load_path(self, trial: Trial | FrozenTrial, destination: AnyPath | None = None) -> Path:
        """Restore the file or folder that a trial saved, for example `study.best_trial`'s.

        Args:
            trial: Any trial, running or finished.
            destination: As for `inherit_path`; the temporary folder lives as long as the process.

        Returns:
            Where it is, absolute.

        Raises:
            TypeError: `trial` is no trial of a study.
            ValueError: `destination` exists.
            CheckpointError: The trial saved no checkpoint, or it is missing or damaged.
        """
        record, target = record_saved_by(trial), vacant(destination)
        # The class as the owner: it lives as long as the process.
        return self._artifacts.restore_files(record, target, type(self))

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
        grace: float = _GRACE,
        dry_run: bool = False,
    ) -> list[int] | list[Garbage]:
        """Remove the checkpoints that no trial can need any more.

        Kept is, by ancestry: everybody who may still become a parent, the parents and mates of
        unfinished trials, and the best trial. Safe while any number of workers is at work, and
        several may collect at once. In a folder, what crashed writers left behind is swept too:
        bytes that no trial recorded and temporary files, of this study only.

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
            CheckpointError: The folder cannot be listed.
        """
        check_keep(keep)
        check_number("grace", grace, at_least=0)
        if dry_run:
            return self._collector.find(study, keep, grace)
        return self._collector.collect(study, keep, grace)

    def collector(self, keep: Keep = "population") -> Callable[[Study, FrozenTrial], None]:
        """Return a study callback that collects at the end of each generation.

        It never ends a run: what goes wrong is a line in the log, and garbage stays until later.

        Args:
            keep: As for `collect`.

        Raises:
            ValueError: `keep` is unknown.

        Example:
            ```python
            study.optimize(objective, callbacks=[checkpoints.collector()])
            ```
        """
        check_keep(keep)
        return partial(self._collector.after_trial, keep=keep, grace=_GRACE)
