"""The only file with Optuna's private names; `tests/contract/test_private_names.py` lists them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from optuna import Study
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import BaseStorage, fail_stale_trials
from optuna.storages._cached_storage import _CachedStorage, _StudyInfo
from optuna.storages._heartbeat import BaseHeartbeat, get_heartbeat_thread, is_heartbeat_enabled
from optuna.study._tell import _tell_with_warning
from optuna.trial import FrozenTrial, Trial, TrialState

__all__ = [
    "ask_again",
    "constraints_of",
    "fail_lost_trial",
    "fail_stale",
    "fixed_params",
    "forget_finished_trials",
    "has_heartbeat",
    "heartbeat",
    "is_optimizing",
    "optimizing",
    "read_study_attrs",
    "read_system_attrs",
    "read_trial",
    "remove_artifact",
    "reopen_trial",
    "see_new_trials",
    "set_stop",
    "stop_requested",
    "storage_of",
    "storage_url",
    "study_id_of",
    "tell",
    "trial_id_of",
    "write_study_attr",
    "write_system_attr",
]


def storage_of(study: Study) -> BaseStorage:
    """Return the storage that holds `study`."""
    return study._storage


def storage_url(study: Study) -> str:
    """Return the URL of the study's relational database; empty for any other storage."""
    return str(getattr(_backend_of(study._storage), "url", ""))


def _backend_of(storage: BaseStorage) -> Any:
    return storage._backend if isinstance(storage, _CachedStorage) else storage


def study_id_of(study: Study) -> int:
    """Return the number that `study` has within its storage."""
    return study._study_id


def read_trial(study: Study, number: int) -> FrozenTrial | None:
    """Read one trial by its number, never the whole study; None if there is none yet."""
    storage = study._storage
    try:
        trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    except KeyError:
        return None
    return storage.get_trial(trial_id)


def forget_finished_trials(study: Study) -> None:
    """Let Optuna read the study's finished trials anew.

    Its cache goes by the study's id, and shows the trials of a deleted study that had the same
    one. Unfinished trials stay in it: they may be live.
    """
    storage, study_id = study._storage, study._study_id
    if not isinstance(storage, _CachedStorage) or study_id not in storage._studies:
        return
    with storage._lock:
        cached = storage._studies[study_id]
        cached.last_finished_trial_id = -1
        for number, trial in list(cached.trials.items()):
            if trial.state.is_finished():
                del cached.trials[number]
                storage._trial_id_to_study_id_and_number.pop(trial._trial_id, None)
                storage._study_id_and_number_to_trial_id.pop((study_id, number), None)


def read_system_attrs(study: Study, trial: Trial | FrozenTrial) -> Mapping[str, Any]:
    """Read a trial's system attrs as they are in the storage now.

    Trials that Optuna hands to samplers, and live trials, do not show attrs written since.
    """
    return study._storage.get_trial_system_attrs(trial._trial_id)


def write_system_attr(study: Study, trial: Trial | FrozenTrial, key: str, value: Any) -> None:
    """Write one system attr of an unfinished trial.

    Optuna hands the same frozen trial to all hooks of a sampler: what one writes is noted there
    too, so that the next need not ask the storage.
    """
    study._storage.set_trial_system_attr(trial._trial_id, key, value)
    if isinstance(trial, FrozenTrial):  # a new dict: another thread may be copying the old one
        trial.system_attrs = {**trial.system_attrs, key: value}


def read_study_attrs(study: Study) -> Mapping[str, Any]:
    """Read all system attrs of the study."""
    return study._storage.get_study_system_attrs(study._study_id)


def write_study_attr(study: Study, key: str, value: Any) -> None:
    """Write one system attr of the study."""
    study._storage.set_study_system_attr(study._study_id, key, value)


def fixed_params(trial: FrozenTrial) -> dict[str, Any]:
    """Return the params that the sampler has no say in: enqueued, or suggested before a retry."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def constraints_of(trial: FrozenTrial) -> Sequence[float]:
    """Return the values of a trial's constraints; it is feasible if none is above 0.

    Optuna 4's samplers record a list, or None where their `constraints_func` raised.
    """
    if hasattr(trial, "constraints"):
        return tuple(trial.constraints.values())
    return tuple(trial.system_attrs.get("constraints") or ())


def remove_artifact(store: Any, artifact_id: str) -> None:
    """Remove an artifact, trying again where `store` is a `Backoff`.

    Optuna 5.0's own `Backoff.remove` goes on when it has succeeded, ten times, in 80 seconds.
    """
    from optuna.artifacts import Backoff  # with it come boto3 and the like: not for samplers
    from optuna.artifacts.exceptions import ArtifactNotFound

    if not isinstance(store, Backoff):
        store.remove(artifact_id)
        return
    for attempt in range(store._max_retries):
        try:
            store._backend.remove(artifact_id)
            return
        except ArtifactNotFound:
            raise
        except Exception:
            if attempt == store._max_retries - 1:
                raise
        time.sleep(store._get_sleep_secs(attempt))


# What an optimize loop of our own needs, as `Study.optimize` does it


def trial_id_of(trial: Trial) -> int:
    """Return the number that `trial` has within its storage."""
    return trial._trial_id


def is_optimizing(study: Study) -> bool:
    """Return whether this thread runs an objective or a callback of `study`."""
    return study._thread_local.in_optimize_loop


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


def set_stop(study: Study, value: bool) -> None:
    """Set, or forget, that `study.stop()` was called."""
    study._stop_flag = value


def see_new_trials(study: Study) -> None:
    """Let samplers that this thread calls see the trials of now.

    Optuna keeps a list of all trials for each thread from the first time that a sampler wants it
    until the thread asks or tells. A worker never asks, and `after_trial` is called behind tell's
    reset: without this one, a list made there would be the next trial's, and all later ones'.
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
    trial._cached_frozen_trial = storage.get_trial(trial_id)
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
    with _backend_of(storage).engine.connect() as connection:
        return connection.execute(query).first() is not None


def reopen_trial(study: Study, number: int) -> Trial:
    """Return a RUNNING trial as its own process had it.

    Runs `Sampler.before_trial` again: the process may have died in the middle of it.
    """
    storage = study._storage
    trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    return Trial(study, trial_id)
