"""What goes to workers in other processes, and what comes back, as bytes."""

from __future__ import annotations

import traceback
from dataclasses import replace

import cloudpickle
from optuna.storages import InMemoryStorage

from epbt_optuna._internal.optuna import (
    make_sqlite_path_absolute,
    storage_of,
    storage_url,
    study_id_of,
)
from epbt_optuna._internal.text import cut
from epbt_optuna.parallel.worker import Outcome, Work

__all__ = ["loaded", "packed", "pickled", "unpacked"]

_MOST_BYTES = 100_000  # of an error


def pickled(work: Work) -> bytes:
    """Return study, objective and `catch` as bytes for a worker in another process.

    Raises:
        ValueError: The storage lives in the memory of this process.
        TypeError: Something cannot be pickled; the message says what.
    """
    url = storage_url(work.study)
    in_memory = url.startswith("sqlite") and (
        url.partition("://")[2] in ("", "/", "/:memory:") or "mode=memory" in url
    )
    if isinstance(storage_of(work.study), InMemoryStorage) or in_memory:
        raise ValueError(
            "`study` must have a storage that other processes can reach but its storage is in the "
            "memory of this one. Create it with a JournalStorage, 'sqlite:///<path>' or a "
            "database server, or use engine='thread'."
        )
    make_sqlite_path_absolute(work.study)
    try:
        data: bytes = cloudpickle.dumps(work)
    except Exception as error:
        name = _unpicklable(work)
        raise TypeError(
            f"`{name}` must be picklable for worker processes but is not: {error!r}. Make what "
            "cannot be pickled (open files, locks, connections, tensors on a GPU) where it is "
            "used, or use engine='thread'."
        ) from error
    return data


def _unpicklable(work: Work) -> str:
    study = work.study
    parts = {
        "objective": work.objective,
        "study.sampler": study.sampler,
        "study.pruner": study.pruner,
        "catch": work.catch,
    }
    for name, part in parts.items():
        try:
            cloudpickle.dumps(part)
        except Exception:  # noqa: PERF203, to find the one that raises
            return name
    return "study"


def loaded(payload: bytes) -> Work:
    """Return what `pickled` made bytes of, in a worker.

    Raises:
        ValueError: The study is not in its storage, as seen from here.
    """
    work: Work = cloudpickle.loads(payload)
    storage, study = storage_of(work.study), work.study
    try:
        storage.get_study_system_attrs(study_id_of(study))  # names may be cached, these are not
    except KeyError:
        raise ValueError(
            f"`study` must have a storage that every worker reaches but one does not find it in "
            f"{storage!r}."
        ) from None
    study.sampler.reseed_rng()  # copies must not draw the same, as in `Study.optimize`
    return work


class _WorkerTraceback(Exception):  # noqa: N818, a text, not a mistake
    """Where in the worker an error was raised; shown as its cause."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def packed(outcome: Outcome) -> bytes:
    """Return an outcome as bytes for another process.

    An error may refuse to be pickled, or to be unpickled again, or carry much data: then its text
    has to do.
    """
    if outcome.error is not None:
        try:
            error = cloudpickle.dumps(outcome.error)
            cloudpickle.loads(error)
            is_sent = len(error) <= _MOST_BYTES
        except Exception:
            is_sent = False
        if not is_sent:
            text = "".join(traceback.format_exception_only(outcome.error)).strip()
            outcome = replace(outcome, error=RuntimeError(cut(text)))
    return bytes(cloudpickle.dumps(outcome))


def unpacked(data: bytes) -> Outcome:
    """Return the outcome that another process packed, its error with the worker's traceback."""
    outcome: Outcome = cloudpickle.loads(data)
    if outcome.error is not None:
        outcome.error.__cause__ = _WorkerTraceback(outcome.failure)
    return outcome
