"""Population-Based Training as Optuna samplers, from the package `epbt-optuna`."""

from epbt_optuna import EPBTSampler, PBTSampler

__all__ = ["EPBTSampler", "PBTSampler"]
