"""A pruner for populations, from the package `epbt-optuna`."""

from epbt_optuna import EPBTPruner

__all__ = ["EPBTPruner"]
