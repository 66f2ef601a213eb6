"""Checkpoints: weights handed from parent to child through any Optuna study.

- `store.py`: `CheckpointStore`, what an objective calls;
- `states.py` (needs torch) and `archives.py`: what is saved, as bytes and back;
- `format.py`: the version of their format, and the error of bytes that are not of it;
- `artifacts.py`: where bytes live, a folder or an artifact store of Optuna's;
- `verified.py`: bytes and their records together, so that what was recorded is what is read;
- `inheritance.py`: whose checkpoint a trial starts from;
- `records.py`: what a trial says of its checkpoint;
- `retention.py` and `garbage.py`: which checkpoints somebody may still need, and what can go;
- `preemption.py`: trials that were cut off;
- `restore.py`, `optimizers.py` and `schedulers.py`: optimizers and schedulers that were inherited.
"""

from __future__ import annotations

from epbt_optuna.checkpoints.garbage import Garbage
from epbt_optuna.checkpoints.preemption import reopen, resume
from epbt_optuna.checkpoints.records import CheckpointError
from epbt_optuna.checkpoints.restore import restore_optimizer
from epbt_optuna.checkpoints.schedulers import restore_scheduler
from epbt_optuna.checkpoints.store import CheckpointStore

__all__ = [
    "CheckpointError",
    "CheckpointStore",
    "Garbage",
    "reopen",
    "restore_optimizer",
    "restore_scheduler",
    "resume",
]
