"""Enhanced Population-Based Training for Optuna.

Trials inherit their parent's weights and evolve hyperparameters and loss functions while they
train. Names are imported when they are first used, so `import epbt_optuna` costs neither torch
nor anything else that a process may not need.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from epbt_optuna.checkpoints import CheckpointError, CheckpointStore
    from epbt_optuna.losses import (
        TaylorGLOLoss,
        cross_entropy_like,
        is_trainable,
        taylor_glo_loss,
    )
    from epbt_optuna.operators import (
        Elitism,
        GaussianMutation,
        PerturbOrResample,
        TournamentSelection,
        Truncation,
        UniformCrossover,
    )
    from epbt_optuna.preemption import reopen, resume
    from epbt_optuna.pruner import EPBTPruner
    from epbt_optuna.restore import restore_optimizer
    from epbt_optuna.samplers import EPBTSampler, PBTSampler, ask_generation
    from epbt_optuna.tracking.mlflow import MLflowTracker

__version__ = "0.1.0"

_MODULES = {
    "CheckpointError": "checkpoints",
    "CheckpointStore": "checkpoints",
    "EPBTPruner": "pruner",
    "EPBTSampler": "samplers",
    "Elitism": "operators",
    "GaussianMutation": "operators",
    "MLflowTracker": "tracking.mlflow",
    "PBTSampler": "samplers",
    "PerturbOrResample": "operators",
    "TaylorGLOLoss": "losses",
    "TournamentSelection": "operators",
    "Truncation": "operators",
    "UniformCrossover": "operators",
    "ask_generation": "samplers",
    "cross_entropy_like": "losses",
    "is_trainable": "losses",
    "reopen": "preemption",
    "restore_optimizer": "restore",
    "resume": "preemption",
    "taylor_glo_loss": "losses",
}

__all__ = [
    "CheckpointError",
    "CheckpointStore",
    "EPBTPruner",
    "EPBTSampler",
    "Elitism",
    "GaussianMutation",
    "MLflowTracker",
    "PBTSampler",
    "PerturbOrResample",
    "TaylorGLOLoss",
    "TournamentSelection",
    "Truncation",
    "UniformCrossover",
    "ask_generation",
    "cross_entropy_like",
    "is_trainable",
    "reopen",
    "restore_optimizer",
    "resume",
    "taylor_glo_loss",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
