"""`epbt collect`: removes checkpoints that nobody needs, and says which and how large they were."""

from __future__ import annotations

import time
from itertools import groupby
from pathlib import Path
from typing import cast

from optuna import Study
from optuna.trial import TrialState
from rich import filesize

from epbt_optuna._internal.artifact_names import prefix_of
from epbt_optuna._internal.attrs import CHECKPOINT
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna.checkpoints import CheckpointStore
from epbt_optuna.checkpoints.garbage import Garbage
from epbt_optuna.checkpoints.retention import Keep

__all__ = ["collect_garbage", "number_ranges", "open_folder"]

RETRY_SECONDS = 1.0  # Optuna's heartbeat takes milliseconds to queue what it has failed
_FOR_EVER = 1e12  # seconds


def collect_garbage(study: Study, folder: Path, keep: str, *, dry_run: bool) -> str:
    """Remove checkpoints that nobody needs, and return what was done as a sentence.

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
    store = open_folder(study, folder)
    wanted = cast("Keep", keep)
    if study.get_trials(deepcopy=False, states=(TrialState.FAIL,)):
        # A collection keeps the parents of those that failed until the next one, as a retry may be
        # about to be queued. The command has no next one: this one counts, and removes nothing.
        store.collect(study, keep="all", grace=_FOR_EVER)
        time.sleep(RETRY_SECONDS)
    garbage = store.collect(study, keep=wanted, dry_run=True)
    if dry_run:
        return f"To be removed: {_named(garbage)}."
    store.collect(study, keep=wanted)
    return f"Removed: {_named([g for g in garbage if not (folder / g.artifact).exists()])}."


def open_folder(study: Study, folder: Path) -> CheckpointStore:
    """Return the store in a study's folder.

    Raises:
        OSError: There is no such folder.
        ValueError: It has nothing of the study, though its trials saved something.
    """
    if not folder.is_dir():
        raise OSError(f"There is no folder {folder}.")
    n_saved = sum(CHECKPOINT.key in t.system_attrs for t in study.get_trials(deepcopy=False))
    identity = StudyIdentity.of(study)
    prefixes = (*identity.prefixes, *map(prefix_of, identity.lent))
    if n_saved and not any(path.name.startswith(prefixes) for path in folder.iterdir()):
        raise ValueError(
            f"{folder} has none of the {n_saved} checkpoints of study {study.study_name!r}: they "
            "are in another folder, or were all removed."
        )
    return CheckpointStore(folder)


def _named(collected: list[Garbage]) -> str:
    trials = sorted(garbage.trial for garbage in collected if garbage.trial is not None)
    n_left_behind = len(collected) - len(trials)
    parts = []
    if trials:
        parts.append(f"the checkpoints of {len(trials)} trials ({number_ranges(trials)})")
    if n_left_behind:
        parts.append(f"{n_left_behind} files that crashed writers left behind")
    if not parts:
        return "nothing"
    size = sum(garbage.size for garbage in collected)
    return f"{' and '.join(parts)}, {filesize.decimal(size)}"


def number_ranges(numbers: list[int]) -> str:
    """Return ascending numbers as 0–3, 5, 7–9."""
    runs = [
        [number for _, number in run]
        for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    ]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)
