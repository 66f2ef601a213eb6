"""Inheritance: whose checkpoint a trial starts from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from optuna import Trial
from optuna.trial import FrozenTrial

from epbt_optuna._internal.attrs import AttrError
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import read_system_attrs, read_trial
from epbt_optuna.checkpoints.records import CheckpointError, CheckpointRecord
from epbt_optuna.population import Lineage

__all__ = ["inherit_by", "record_saved_by"]

_T = TypeVar("_T")
_logger = logging.getLogger("epbt_optuna.checkpoints")


def inherit_by(
    trial: Trial, missing: Literal["error", "fresh"], read: Callable[[CheckpointRecord], _T]
) -> _T | None:
    """Return what `read` makes of the checkpoint that a trial starts from; None for a founder.

    Raises:
        ValueError: `missing` is neither `"error"` nor `"fresh"`.
        CheckpointError: The parent saved no checkpoint, or `read` raises it.
    """
    if missing not in ("error", "fresh"):
        raise ValueError(f"`missing` must be 'error' or 'fresh' but got {missing!r}.")
    identity = StudyIdentity.of(trial.study)
    system_attrs = read_system_attrs(trial.study, trial)
    partial = CheckpointRecord.partial(trial.number, system_attrs, identity)
    if partial is not None:
        try:
            return read(partial)
        except CheckpointError as error:
            _logger.warning("%s Trial %d starts from its parent.", error, trial.number)
    lineage = _lineage(trial.number, system_attrs, identity)
    if lineage is None or lineage.parent is None:
        return None
    parent = read_trial(trial.study, lineage.parent)
    if parent is None:
        raise CheckpointError(
            f"Trial {lineage.parent}, the parent of trial {trial.number}, does not exist."
        )
    record = CheckpointRecord.own(parent.number, parent.system_attrs, identity)
    if record is not None and record.final:
        return read(record)
    bred_by_us = _lineage(parent.number, parent.system_attrs, identity) is not None
    if missing == "fresh" or not bred_by_us:
        return None
    raise CheckpointError(
        f"Trial {parent.number}, the parent of trial {trial.number}, saved no checkpoint. "
        "Call `save` in the objective before it returns, or pass `missing='fresh'` if fresh "
        "weights are meant."
    )


def record_saved_by(trial: Trial | FrozenTrial) -> CheckpointRecord:
    """Return the record of what a trial saved.

    Raises:
        CheckpointError: It saved no checkpoint, or its record cannot be read.
    """
    if isinstance(trial, Trial):
        attrs = read_system_attrs(trial.study, trial)
        record = CheckpointRecord.own(trial.number, attrs, StudyIdentity.of(trial.study))
    else:
        record = CheckpointRecord.own(trial.number, trial.system_attrs, None)
    if record is None:
        raise CheckpointError(f"Trial {trial.number} saved no checkpoint.")
    return record


def _lineage(
    number: int, system_attrs: Mapping[str, Any], identity: StudyIdentity
) -> Lineage | None:
    try:
        return Lineage.recorded(number, system_attrs, identity)
    except AttrError as error:  # nobody can say whose weights these are to be
        raise CheckpointError(str(error)) from error
