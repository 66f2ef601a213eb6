"""Constraints of trials, under Optuna 5, which has a method for each, and 4, which has one list."""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial

__all__ = ["set_constraint", "violation_of"]


def set_constraint(trial: optuna.Trial, name: str, value: float) -> None:
    """Set a constraint as Optuna 5 does, or where the `constraints_func` of Optuna 4 would."""
    if hasattr(trial, "set_constraint"):
        trial.set_constraint(name, value)
        return
    storage, trial_id = trial.storage, trial._trial_id
    so_far = storage.get_trial_system_attrs(trial_id).get("constraints", [])
    storage.set_trial_system_attr(trial_id, "constraints", [*so_far, value])


def violation_of(trial: FrozenTrial) -> float:
    """Return by how much all constraints of a trial are violated together."""
    if hasattr(trial, "constraints"):
        constraints = list(trial.constraints.values())
    else:
        constraints = trial.system_attrs.get("constraints", [])
    return sum(value for value in constraints if value > 0)
