"""`epbt branch`: a copy of a study becomes one of its own."""

from __future__ import annotations

from pathlib import Path

from optuna import Study

from epbt_optuna.checkpoints import branch
from epbt_optuna.cli._collect import number_ranges, open_folder

__all__ = ["branch_off"]


def branch_off(study: Study, folder: Path | None) -> str:
    """Branch a copy off, and return what was done as a sentence.

    Args:
        study: The copy.
        folder: A folder that `CheckpointStore` writes to; None for a study without checkpoints.

    Raises:
        OSError: There is no such folder.
        ValueError: No sampler of ours breeds in the study, it has checkpoints but no folder was
            given, or the folder has none of them.
    """
    copied = branch(study, None if folder is None else open_folder(study, folder))
    trials = f"{len(copied)} trials ({number_ranges(copied)})" if copied else "no trial"
    return f"Branched off; copied the checkpoints of {trials}."
