"""Pins: trials whose checkpoints are results, so that no collection removes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna import Study
from optuna.trial import FrozenTrial

from epbt_optuna._internal.optuna import write_system_attr

__all__ = ["is_pinned", "pin"]

_PIN_KEY = "epbt:pinned"


def pin(study: Study, trial: FrozenTrial) -> None:
    """Mark an unfinished trial as one whose checkpoint is a result."""
    write_system_attr(study, trial, _PIN_KEY, True)


def is_pinned(system_attrs: Mapping[str, Any]) -> bool:
    """Return whether a trial was marked as one whose checkpoint is a result."""
    return _PIN_KEY in system_attrs
