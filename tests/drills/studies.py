"""The run that every drill makes: vectors trained towards a target, with checkpoints.

Everything is a function of the trial's number and params and of what it inherited, so that one
run can be compared with another, and what a child started from with what its parent saved.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import CheckpointStore
from tests.replay import Rules, lineage_of
from tests.servers import open_grpc

__all__ = [
    "JOURNAL_GRACE_SECONDS",
    "RULES",
    "Training",
    "digest",
    "open_storage",
    "summary",
]

RULES = Rules(population_size=6, n_elites=3, direction=StudyDirection.MAXIMIZE)

# How long a lock file of the journal may stand unchanged before it counts as a dead worker's.
# Optuna's default is 30 s, and it warns below 3 s: a living writer must never take as long. Here
# the disk is a local one and the drill has no time.
JOURNAL_GRACE_SECONDS = 1

_TARGET = torch.linspace(-1.0, 1.0, 64)


def open_storage(url: str) -> str | BaseStorage | None:
    """Return what `optuna.create_study(storage=...)` takes, opened anew where it is an object.

    Args:
        url: `memory`, `journal:///<path>`, `grpc://<host>:<port>`, or SQLAlchemy's.
    """
    if url == "memory":
        return None
    if url.startswith("grpc://"):
        return open_grpc(url)
    if url.startswith("journal:///"):
        path = url.removeprefix("journal:///")
        lock = JournalFileOpenLock(path)
        lock.grace_period = JOURNAL_GRACE_SECONDS
        return JournalStorage(JournalFileBackend(path, lock_obj=lock))
    return url


class Training:
    """The objective: moves inherited weights towards a target, and records their digests.

    Args:
        folder: Of the checkpoints.
        seconds: How long it pretends to train.
        enter: Called with the name of each phase as it begins.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seconds: float = 0.0,
        enter: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.checkpoints = CheckpointStore(folder)
        self._seconds = seconds
        self._enter = enter

    def __call__(self, trial: optuna.Trial) -> float:
        self._enter("suggest")
        rate = trial.suggest_float("rate", 0.01, 0.5, log=True)
        noise = trial.suggest_float("noise", 0.0, 0.1)
        n_steps = trial.suggest_int("n_steps", 1, 5)
        sign = trial.suggest_categorical("sign", ["+", "-"])
        self._enter("inherit")
        state = self.checkpoints.inherit(trial)
        weights = torch.zeros(len(_TARGET)) if state is None else state["weights"]
        trial.set_user_attr("started_from", None if state is None else digest(weights))
        is_half_done = state is not None and not state["final"]
        value = 0.0
        for epoch in (1,) if is_half_done else (0, 1):
            self._enter("train")
            generator = torch.Generator().manual_seed(2 * trial.number + epoch)
            for _ in range(n_steps):
                weights = weights + rate * (_TARGET - weights)
            weights = weights + noise * torch.randn(len(weights), generator=generator)
            time.sleep(self._seconds)
            self._enter("report")
            value = float(-(weights - _TARGET).square().mean()) - 0.01 * (sign == "-")
            trial.report(value, step=epoch)
            final = epoch == 1
            trial.set_user_attr("saved" if final else "partial", digest(weights))
            self._enter("save")
            self.checkpoints.save(trial, {"weights": weights, "final": final}, final=final)
        self._enter("tell")
        return value


def digest(weights: torch.Tensor) -> str:
    """Return a short digest of a tensor's bytes."""
    return hashlib.sha256(weights.numpy().tobytes()).hexdigest()[:16]


def summary(trial: FrozenTrial) -> dict[str, Any]:
    """Return what two runs with the same seed have in common of a trial."""
    told = trial.state == TrialState.COMPLETE
    return {
        "number": trial.number,
        "state": trial.state.name,
        "lineage": lineage_of(trial),
        "params": trial.params if told else None,
        "values": trial.values,
        "reports": trial.intermediate_values if told else None,
        "weights": trial.user_attrs if told else None,
    }
