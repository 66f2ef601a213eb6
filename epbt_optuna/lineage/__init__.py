"""Lineage: who descends from whom, read back from a study, and how to train along it again.

What a run leaves behind is a history. `ancestry` is one line of it, `lineage_graph`,
`lineage_dataframe` and `summarize_generations` are all of it as plain data, and a `Schedule` is
the hyperparameters along one line, to be saved, read by epoch, and replayed on fresh networks.
Everything is read from the study alone, so it works in any process, during a run and after it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from epbt_optuna.lineage.generations import GenerationSummary, summarize_generations
from epbt_optuna.lineage.graph import ancestry, lineage_dataframe, lineage_graph
from epbt_optuna.lineage.losses import loss_schedule
from epbt_optuna.lineage.schedule import Schedule, ScheduleStep

if TYPE_CHECKING:
    from epbt_optuna.samplers.replay import ReplayPosition, ReplaySampler

__all__ = [
    "GenerationSummary",
    "ReplayPosition",
    "ReplaySampler",
    "Schedule",
    "ScheduleStep",
    "ancestry",
    "lineage_dataframe",
    "lineage_graph",
    "loss_schedule",
    "summarize_generations",
]


def __getattr__(name: str) -> Any:
    """Import what replays when it is used: a sampler reads lineage, not the reverse."""
    if name not in ("ReplayPosition", "ReplaySampler"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("epbt_optuna.samplers.replay"), name)
