"""`epbt collect`: removes checkpoints that nobody needs, and says which and how large they were."""

from __future__ import annotations

import math
import time
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, cast

from optuna import Study
from rich import filesize

from epbt_optuna.checkpoints.artifacts import FolderArtifacts
from epbt_optuna.checkpoints.retention import Keep, Retention
from epbt_optuna.checkpoints.store import CheckpointStore
from epbt_optuna.checkpoints.verified import Vault

__all__ = ["collect_garbage"]

_GRACE = 3600.0  # as for `CheckpointStore.collect`


class _File(NamedTuple):
    path: Path
    size: int
    trial: int | None  # None: recorded by no trial, left behind by a writer that crashed


def collect_garbage(study: Study, folder: Path, keep: str, *, dry_run: bool) -> str:
    """Remove them, and return what was done as a sentence.

    Args:
        study: The study.
        folder: A folder that `CheckpointStore` writes to.
        keep: As for `CheckpointStore.collect`.
        dry_run: Whether to remove nothing.

    Raises:
        OSError: There is no such folder.
        ValueError: No sampler of ours breeds in the study, or the folder has none of the
            checkpoints that it recorded.
    """
    if not folder.is_dir():
        raise OSError(f"There is no folder {folder}.")
    wanted = cast("Keep", keep)
    garbage = _garbage(study, folder, wanted)
    if dry_run:
        return f"To be removed: {_named(garbage)}."
    CheckpointStore(folder).collect(study, keep=wanted, grace=_GRACE)
    return f"Removed: {_named([file for file in garbage if not file.path.exists()])}."


def _garbage(study: Study, folder: Path, keep: Keep) -> list[_File]:
    """Return the files that are to go.

    Trials keep the records of what was removed long ago: only the folder knows what is there.
    """
    retention = Retention(study)
    garbage = retention.garbage(study, keep, datetime.now())
    vault = Vault(FolderArtifacts(folder))
    there = set(vault.leftovers(study, before=math.inf))
    if retention.recorded and not retention.recorded & there:
        raise ValueError(
            f"{folder} has none of the {len(retention.recorded)} checkpoints of study "
            f"{study.study_name!r}: they are in another folder, or were all removed."
        )
    old = set(vault.leftovers(study, before=time.time() - _GRACE)) - retention.recorded
    trials = {artifact: trial for trial, artifact in garbage.items() if artifact in there}
    return [
        _File(folder / name, (folder / name).stat().st_size, trials.get(name))
        for name in (*trials, *sorted(old))
    ]


def _named(files: list[_File]) -> str:
    trials = sorted(file.trial for file in files if file.trial is not None)
    n_left_behind = len(files) - len(trials)
    parts = []
    if trials:
        parts.append(f"the checkpoints of {len(trials)} trials ({_ranges(trials)})")
    if n_left_behind:
        parts.append(f"{n_left_behind} files that crashed writers left behind")
    if not parts:
        return "nothing"
    return f"{' and '.join(parts)}, {filesize.decimal(sum(file.size for file in files))}"


def _ranges(numbers: list[int]) -> str:
    """Return ascending numbers as 0–3, 5, 7–9."""
    runs = [
        [number for _, number in run]
        for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    ]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)
