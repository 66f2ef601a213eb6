"""Optuna's private names for studies and trials.

Only this file and `optuna_loop.py` have any; `tests/contract/test_private_names.py` lists them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from optuna import Study
from optuna.distributions import (
    BaseDistribution,
    _convert_old_distribution_to_new_distribution,
)
from optuna.samplers import BaseSampler, PartialFixedSampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import FrozenTrial, Trial, TrialState

__all__ = [
    "attrs_at_start",
    "backend_of",
    "check_threads_see",
    "constraints_of",
    "enqueued_params",
    "fail",
    "fixed_params",
    "forget_finished_trials",
    "is_enqueued",
    "journal_of",
    "keep_with",
    "kept_with",
    "make_room",
    "make_sqlite_path_absolute",
    "read_existing",
    "read_study_attrs",
    "read_system_attrs",
    "read_trial",
    "remove_artifact",
    "reports_so_far",
    "storage_of",
    "storage_url",
    "study_id_of",
    "suggest",
    "take_kept",
    "trial_id_of",
    "write_study_attr",
    "write_system_attr",
]


def storage_of(study: Study) -> BaseStorage:
    """Return the storage that holds `study`."""
    return study._storage


def storage_url(study: Study) -> str:
    """Return the URL of the study's relational database; empty for any other storage."""
    return str(getattr(backend_of(study._storage), "url", ""))


def make_sqlite_path_absolute(study: Study) -> None:
    """Let copies of the study's storage find a relative SQLite file from any folder.

    Its own connections do: the path was made absolute when the storage was opened, and the database
    itself knows which it was, wherever this process has gone since.
    """
    storage = backend_of(study._storage)
    if not isinstance(storage, RDBStorage) or storage.engine.dialect.name != "sqlite":
        return
    url = storage.engine.url
    if url.database is None or os.path.isabs(url.database) or "uri" in url.query:
        return
    with storage.engine.connect() as connection:
        _, _, path = next(iter(connection.exec_driver_sql("PRAGMA database_list")))
    if path:  # else it is in memory
        storage.url = url.set(database=path).render_as_string(hide_password=False)


def check_threads_see(study: Study) -> None:
    """Raise unless all threads of this process see the same study.

    Raises:
        ValueError: They do not.
    """
    backend = backend_of(study._storage)
    if not isinstance(backend, RDBStorage):
        return
    from sqlalchemy.pool import SingletonThreadPool

    is_in_memory = backend.engine.url.database in (None, "", ":memory:")
    if is_in_memory and isinstance(backend.engine.pool, SingletonThreadPool):
        raise ValueError(
            "`study` must have a storage that all threads see but SQLite makes a database in "
            "memory anew for each. Create it without `storage`, or with 'sqlite:///<path>'."
        )


def backend_of(storage: BaseStorage) -> Any:
    """Return the relational storage behind Optuna's cache, or the storage itself."""
    return storage._backend if isinstance(storage, _CachedStorage) else storage


def journal_of(study: Study) -> Any:
    """Return what the study's `JournalStorage` writes through; None for other storages."""
    storage = storage_of(study)
    return storage._backend if isinstance(storage, JournalStorage) else None


def study_id_of(study: Study) -> int:
    """Return the number that `study` has within its storage."""
    return study._study_id


def trial_id_of(trial: Trial | FrozenTrial) -> int:
    """Return the number that `trial` has within its storage."""
    return trial._trial_id


def read_trial(study: Study, number: int) -> FrozenTrial | None:
    """Read one trial by its number, never the whole study; None if there is none yet."""
    storage = study._storage
    try:
        trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    except KeyError:
        return None
    return storage.get_trial(trial_id)


def read_existing(study: Study, number: int) -> FrozenTrial:
    """Return a trial that must be there.

    Raises:
        ValueError: It is not.
    """
    trial = read_trial(study, number)
    if trial is None:
        raise ValueError(f"Trial {number} does not exist in study {study.study_name!r}.")
    return trial


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


def attrs_at_start(trial: Trial) -> Mapping[str, Any]:
    """Return a trial's system attrs as they were when this live object of it was made.

    Storages replace a trial's attrs and never change them in place, so this stays as it was. Its
    copies, in other threads or processes, have it too.
    """
    return trial._cached_frozen_trial.system_attrs


def reports_so_far(trial: Trial) -> Mapping[int, float]:
    """Return what a live trial has reported, by step, and what it was given by an earlier run."""
    return trial._cached_frozen_trial.intermediate_values


def write_system_attr(study: Study, trial: Trial | FrozenTrial, key: str, value: Any) -> None:
    """Write one system attr of an unfinished trial.

    Optuna hands the same frozen trial to all hooks of a sampler: what one writes is noted there
    too, so that the next need not ask the storage.
    """
    study._storage.set_trial_system_attr(trial._trial_id, key, value)
    if isinstance(trial, FrozenTrial):  # a new dict: another thread may be copying the old one
        trial.system_attrs = {**trial.system_attrs, key: value}


def suggest(trial: Trial, name: str, distribution: BaseDistribution) -> None:
    """Suggest a variable as `study.ask` does those of its `fixed_distributions`."""
    trial._suggest(name, _convert_old_distribution_to_new_distribution(distribution))


def read_study_attrs(study: Study) -> Mapping[str, Any]:
    """Read all system attrs of the study."""
    return study._storage.get_study_system_attrs(study._study_id)


def write_study_attr(study: Study, key: str, value: Any) -> None:
    """Write one system attr of the study."""
    study._storage.set_study_system_attr(study._study_id, key, value)


def make_room(trial: FrozenTrial) -> None:
    """Let something be kept with a trial that Optuna is going to hand to a sampler's hooks.

    They get the very object, or shallow copies of it, of which some are made before there is
    anything to keep. So what is kept stands in a dict that all of them share. The storage's own
    object is another one: it makes a new one at each write, so there must be one before this.
    """
    vars(trial)["_kept_by_epbt"] = {}


def keep_with(trial: FrozenTrial, **values: Any) -> None:
    """Keep values for the trial's later hooks, as long as the trial lives in this process."""
    vars(trial).setdefault("_kept_by_epbt", {}).update(values)


def kept_with(trial: FrozenTrial, name: str, default: Any = None) -> Any:
    """Return what was kept with the trial under this name, else `default`."""
    return vars(trial).get("_kept_by_epbt", {}).get(name, default)


def take_kept(trial: FrozenTrial, name: str) -> Any:
    """Return what was kept with the trial under this name and keep it no longer; else None."""
    return vars(trial).get("_kept_by_epbt", {}).pop(name, None)


def fail(study: Study, trial: FrozenTrial) -> None:
    """Fail a running trial that nobody is going to run, without the hooks of the sampler."""
    study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)


def fixed_params(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    """Return the params that the sampler has no say in.

    They were enqueued, or suggested before a retry, or are fixed by Optuna's
    `PartialFixedSampler` around it.
    """
    params: dict[str, Any] = {}
    sampler: BaseSampler = study.sampler
    while isinstance(sampler, PartialFixedSampler):
        params = {**sampler._fixed_params, **params}
        sampler = sampler._base_sampler
    return {**params, **enqueued_params(trial), **trial.params}


def enqueued_params(trial: FrozenTrial) -> Mapping[str, Any]:
    """Return the params that a trial was enqueued with."""
    params: Mapping[str, Any] = trial.system_attrs.get("fixed_params", {})
    return params


def is_enqueued(trial: FrozenTrial) -> bool:
    """Return whether a trial that was just asked had waited in the queue with params.

    They are named by `enqueue_trial`, also where there are none, or it was added with some.
    """
    return "fixed_params" in trial.system_attrs or bool(trial.params)


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
