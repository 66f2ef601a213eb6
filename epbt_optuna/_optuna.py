"""The only file that touches Optuna's private names: trials by number, system attrs, `Backoff`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from optuna import Study
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial

__all__ = [
    "fixed_params",
    "read_study_attr",
    "read_system_attrs",
    "read_trial",
    "remove_artifact",
    "storage_of",
    "study_id_of",
    "write_study_attr",
    "write_system_attr",
]


def storage_of(study: Study) -> BaseStorage:
    """Return the storage that holds `study`."""
    return study._storage


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


def read_system_attrs(study: Study, trial: Trial | FrozenTrial) -> Mapping[str, Any]:
    """Read a trial's system attrs as they are in the storage now.

    Trials that Optuna hands to samplers, and live trials, do not show attrs written since.
    """
    return study._storage.get_trial_system_attrs(trial._trial_id)


def write_system_attr(study: Study, trial: Trial | FrozenTrial, key: str, value: Any) -> None:
    """Write one system attr of an unfinished trial."""
    study._storage.set_trial_system_attr(trial._trial_id, key, value)


def read_study_attr(study: Study, key: str) -> Any:
    """Read one system attr of the study; None if it is not set."""
    return study._storage.get_study_system_attrs(study._study_id).get(key)


def write_study_attr(study: Study, key: str, value: Any) -> None:
    """Write one system attr of the study."""
    study._storage.set_study_system_attr(study._study_id, key, value)


def fixed_params(trial: FrozenTrial) -> dict[str, Any]:
    """Return the params that the sampler has no say in: enqueued, or suggested before a retry."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def remove_artifact(store: Any, artifact_id: str) -> None:
    """Remove an artifact, trying again where `store` is a `Backoff`.

    Optuna 5.0's own `Backoff.remove` does not stop when it has succeeded: with its defaults it
    removes ten times over, in 80 seconds.
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
