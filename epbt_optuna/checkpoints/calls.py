"""Which of the running trials of this process have asked for a checkpoint to start from."""

from __future__ import annotations

import weakref

from optuna import Study, Trial
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from epbt_optuna._internal.optuna import storage_of, trial_id_of

__all__ = ["forget_call", "has_inherited", "note_call"]

# By storage, the trials' ids. `setdefault`, `add` and `discard` are each one step of Python's, so
# threads need no lock, and a process that is forked meanwhile finds none taken.
_ASKED: weakref.WeakKeyDictionary[BaseStorage, set[int]] = weakref.WeakKeyDictionary()


def note_call(trial: Trial) -> None:
    """Note that `inherit` or `inherit_path` was called for a trial."""
    _ASKED.setdefault(storage_of(trial.study), set()).add(trial_id_of(trial))


def has_inherited(study: Study, trial: Trial | FrozenTrial) -> bool:
    """Return whether `inherit` or `inherit_path` was called for a trial in this process."""
    return trial_id_of(trial) in _ASKED.get(storage_of(study), ())


def forget_call(study: Study, trial: FrozenTrial) -> bool:
    """Forget a trial that has ended; return whether it was noted."""
    asked, trial_id = _ASKED.get(storage_of(study), set()), trial_id_of(trial)
    was_noted = trial_id in asked
    asked.discard(trial_id)
    return was_noted
