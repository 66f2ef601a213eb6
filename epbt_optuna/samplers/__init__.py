"""Samplers: Optuna's hooks, in which generations are bred.

`generation.py` has the hooks that all populations share, `epbt.py` EPBT and PBT with their settings
and defaults, `stopping.py` the callbacks that end a run. `replay.py` trains along a schedule that
one of these left behind, and is imported only when it is used: it reads `epbt_optuna.lineage`.
"""

from __future__ import annotations

from epbt_optuna.samplers.epbt import EPBTSampler, PBTSampler, ask_generation
from epbt_optuna.samplers.generation import GenerationSampler
from epbt_optuna.samplers.stopping import StopAtFitness, StopWithoutProgress

__all__ = [
    "EPBTSampler",
    "GenerationSampler",
    "PBTSampler",
    "StopAtFitness",
    "StopWithoutProgress",
    "ask_generation",
]
