"""Optuna's private names for running trials, as `Study.optimize` does it; see `optuna.py`."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from optuna import Study
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import fail_stale_trials
from optuna.storages._cached_storage import _CachedStorage, _StudyInfo
from optuna.storages._heartbeat import BaseHeartbeat, get_heartbeat_thread, is_heartbeat_enabled
from optuna.study._tell import _tell_with_warning
from optuna.trial import FrozenTrial, Trial, TrialState

from epbt_optuna._internal.optuna import backend_of, make_room

__all__ = [
    "ask_again",
    "check_not_optimizing",
    "fail_lost_trial",
    "fail_stale",
    "forget_stop",
    "has_heartbeat",
    "heartbeat",
    "heartbeat_interval",
    "log_completed",
    "optimizing",
    "reopen_trial",
    "see_new_trials",
    "stop_requested",
    "tell",
]


def check_not_optimizing(study: Study) -> None:
    """Raise a RuntimeError if this thread runs an objective or a callback of `study`."""
    if study._thread_local.in_optimize_loop:
        raise RuntimeError(
            "`optimize` must not be called by an objective or a callback of the same study."
        )


def log_completed(study: Study, trial: FrozenTrial) -> None:
    """Log the line that `Study.optimize` logs of a COMPLETE trial."""
    study._log_completed_trial(trial.values, trial.number, trial.params)


@contextmanager
def optimizing(study: Study) -> Iterator[None]:
    """Let objectives and callbacks in this thread call `study.stop()`, but not optimize again."""
    was_optimizing = study._thread_local.in_optimize_loop
    study._thread_local.in_optimize_loop = True
    try:
        yield
    finally:
        study._thread_local.in_optimize_loop = was_optimizing


def stop_requested(study: Study) -> bool:
    """Return whether `study.stop()` was called."""
    return study._stop_flag


def forget_stop(study: Study) -> None:
    """Let a run begin in which `study.stop()` has not been called yet."""
    study._stop_flag = False


def see_new_trials(study: Study) -> None:
    """Let samplers that this thread calls see the trials of now.

    Optuna keeps a list of all trials for each thread from the first time that a sampler wants it
    until the thread asks or tells. A worker never asks, and when it tells, `after_trial` is called
    after the list was dropped: one that is made there would serve all later trials.
    """
    study._thread_local.cached_all_trials = None


def ask_again(study: Study, trial_id: int) -> Trial:
    """Return the live trial of one that another process asked.

    Optuna's constructor would run `Sampler.before_trial`, which was run at ask and may not be
    repeatable: it is what chooses parents, or takes a place of a grid.
    """
    storage = study._storage
    trial = Trial.__new__(Trial)
    trial.study = study
    trial.storage = storage
    trial._trial_id = trial_id
    trial._cached_frozen_trial = copy.copy(storage.get_trial(trial_id))  # the storage's own
    make_room(trial._cached_frozen_trial)
    trial.relative_search_space = None
    trial._relative_params = None
    trial._fixed_params = trial._cached_frozen_trial.system_attrs.get("fixed_params", {})
    if isinstance(storage, _CachedStorage):  # it sets params only of trials that it created or saw
        with storage._lock:
            storage._studies.setdefault(study._study_id, _StudyInfo())
            storage._add_trials_to_cache(study._study_id, [trial._cached_frozen_trial])
    return trial


def tell(study: Study, trial: Trial, value: Any, state: TrialState | None) -> str | None:
    """Tell a trial as `Study.optimize` does, unless it has been finished from outside.

    Args:
        study: The study.
        trial: The running trial.
        value: What the objective returned.
        state: PRUNED, FAIL, or None: then `value` decides between COMPLETE and FAIL.

    Returns:
        Why the value was not accepted, or None.
    """
    try:
        return _tell_with_warning(
            study, trial, value, state, skip_if_finished=True, suppress_warning=True
        )[2]
    except UpdateFinishedTrialError:  # finished from outside since `tell` looked
        return None


def fail_lost_trial(study: Study, trial_id: int) -> None:
    """Fail a trial whose worker is gone, as Optuna's heartbeat would: it may queue a retry."""
    storage = study._storage
    with suppress(UpdateFinishedTrialError):
        storage.set_trial_state_values(trial_id, TrialState.FAIL)
        if isinstance(storage, BaseHeartbeat) and is_heartbeat_enabled(storage):
            callback = storage.get_heartbeat_stale_trial_callback()
            if callback is not None:
                callback(study, storage.get_trial(trial_id))


def heartbeat(study: Study, trial_id: int) -> AbstractContextManager[None]:
    """Record heartbeats of a running trial, where the storage was told to."""
    return get_heartbeat_thread(trial_id, study._storage)  # type: ignore[return-value]


def heartbeat_interval(study: Study) -> float | None:
    """Return the seconds between two heartbeats of a trial; None where there are none."""
    storage = study._storage
    return storage.get_heartbeat_interval() if isinstance(storage, BaseHeartbeat) else None


def fail_stale(study: Study) -> None:
    """Fail the trials whose heartbeat has stopped, where the storage was told to."""
    if is_heartbeat_enabled(study._storage):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            fail_stale_trials(study)


def has_heartbeat(study: Study, number: int) -> bool:
    """Return whether a worker that dies with this trial is going to be noticed.

    So it is if the storage was told to, and if the trial has begun: one that was asked but never
    run, or asked by hand, has recorded no heartbeat, and Optuna never calls it stale.
    """
    storage = study._storage
    if not is_heartbeat_enabled(storage):
        return False
    from optuna.storages._rdb.models import TrialHeartbeatModel
    from sqlalchemy import select

    trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    query = select(TrialHeartbeatModel.trial_id).where(TrialHeartbeatModel.trial_id == trial_id)
    with backend_of(storage).engine.connect() as connection:
        return connection.execute(query).first() is not None


def reopen_trial(study: Study, number: int) -> Trial:
    """Return a RUNNING trial as its own process had it.

    Runs `Sampler.before_trial` again: the process may have died in the middle of it.
    """
    storage = study._storage
    trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    return Trial(study, trial_id)
