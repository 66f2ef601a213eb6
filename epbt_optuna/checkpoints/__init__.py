"""Checkpoints: weights handed from parent to child through any Optuna study.

- `store.py`: `CheckpointStore`, what an objective calls;
- `states.py`, with `contents.py`, `memory.py` and `arrays.py` (all need torch), and `archives.py`:
  what is saved, as bytes and back;
- `format.py`: the version of their format, and the error of bytes that are not of it;
- `artifacts.py`, `stores.py` and `shipping.py`: where bytes live, a folder or an artifact store of
  Optuna's, which other processes can be given;
- `verified.py`: bytes and their records together, so that what was recorded is what is read;
- `inheritance.py`: whose checkpoint a trial starts from; `mixed.py` and `averages.py`: an average
  with the mate's;
- `records.py` and `reports.py`: what a trial says of its checkpoint, and of its network's training;
- `running.py`, `calls.py` and `misuse.py`: the trials that objectives are given, and what they
  forget to do with them;
- `retention.py` and `garbage.py`: which checkpoints somebody may still need, and what can go;
- `branch.py`: a copy of a study that goes on beside its original;
- `preemption.py`: trials that were cut off;
- `restore.py`, `optimizers.py` and `schedulers.py`: optimizers and schedulers that were inherited.
"""

from __future__ import annotations

from epbt_optuna.checkpoints.branch import branch
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
    "branch",
    "reopen",
    "restore_optimizer",
    "restore_scheduler",
    "resume",
]
