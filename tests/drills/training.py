"""The run that every drill makes: vectors trained towards a target, with checkpoints.

Everything is a function of the trial's number and params and of what it inherited, so that one
run can be compared with another, and what a child started from with what its parent saved.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import CheckpointStore
from epbt_optuna.checkpoints.artifacts import ArtifactStore
from tests.replay import Rules, lineage_of

if TYPE_CHECKING:
    import torch

__all__ = ["RULES", "Training", "digest", "summary"]

RULES = Rules(population_size=6, n_elites=3, direction=StudyDirection.MAXIMIZE)


class Training:
    """The objective: moves inherited weights towards a target, and records their digests.

    Args:
        store: Where the checkpoints go, as `CheckpointStore` takes it.
        seconds: How long it pretends to train.
        enter: Called with the name of each phase as it begins.
    """

    def __init__(
        self,
        store: Path | ArtifactStore,
        *,
        seconds: float = 0.0,
        enter: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.checkpoints = CheckpointStore(store)
        self._seconds = seconds
        self._enter = enter

    def __call__(self, trial: optuna.Trial) -> float:
        import torch  # here: processes that only want `RULES` or `summary` start without it

        target = torch.linspace(-1.0, 1.0, 64)
        self._enter("suggest")
        rate = trial.suggest_float("rate", 0.01, 0.5, log=True)
        noise = trial.suggest_float("noise", 0.0, 0.1)
        n_steps = trial.suggest_int("n_steps", 1, 5)
        sign = trial.suggest_categorical("sign", ["+", "-"])
        self._enter("inherit")
        state = self.checkpoints.inherit(trial)
        weights = torch.zeros(len(target)) if state is None else state["weights"]
        start = None if state is None else digest(weights)
        trial.set_user_attr("start", {"of": trial.number, "weights": start})
        is_half_done = state is not None and not state["final"]
        value = 0.0
        for epoch in (1,) if is_half_done else (0, 1):
            self._enter("train")
            generator = torch.Generator().manual_seed(2 * trial.number + epoch)
            for _ in range(n_steps):
                weights = weights + rate * (target - weights)
            weights = weights + noise * torch.randn(len(weights), generator=generator)
            time.sleep(self._seconds)
            self._enter("report")
            value = float(-(weights - target).square().mean()) - 0.01 * (sign == "-")
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
