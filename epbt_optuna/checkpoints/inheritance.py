"""Inheritance: whose checkpoint a trial starts from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from optuna import Trial
from optuna.trial import FrozenTrial

from epbt_optuna._internal.attrs import CHECKPOINT, AttrError, pass_over
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import (
    attrs_at_start,
    read_study_attrs,
    read_system_attrs,
    read_trial,
)
from epbt_optuna._internal.text import get_logger
from epbt_optuna.checkpoints.calls import note_call
from epbt_optuna.checkpoints.mixed import Averaging, Mixed, NotAveragedError
from epbt_optuna.checkpoints.records import CheckpointError, CheckpointRecord, was_bred_here
from epbt_optuna.checkpoints.reports import record_earlier_run
from epbt_optuna.checkpoints.running import AnyTrial, is_live, require_of_study
from epbt_optuna.population import Generations, Lineage

__all__ = ["inherit_by", "record_saved_by"]

_T = TypeVar("_T")
_logger = get_logger("epbt_optuna.checkpoints")


def inherit_by(
    trial: AnyTrial,
    missing: Literal["error", "fresh"],
    read: Callable[[CheckpointRecord], _T],
    averaging: Averaging[_T] | None = None,
) -> _T | None:
    """Return what `read` makes of the checkpoint that a trial starts from; None for a founder.

    Args:
        trial: The live trial.
        missing: What a parent that saved no checkpoint means.
        read: Reads a checkpoint.
        averaging: Default: the mate's is not looked at.

    Raises:
        TypeError: `trial` is not live, and `missing` is not `"fresh"`, or no objective could be
            run with it.
        ValueError: `missing` is neither `"error"` nor `"fresh"`.
        CheckpointError: The parent saved no checkpoint, no sampler of ours has chosen a parent, a
            record cannot be read, or `read` raises it.
    """
    if missing not in ("error", "fresh"):
        raise ValueError(f"`missing` must be 'error' or 'fresh' but got {missing!r}.")
    if is_live(trial):
        note_call(trial)
        try:
            return _inherit(trial, missing, read, averaging)
        except AttrError as error:  # nobody can say whose weights these are to be
            raise CheckpointError(str(error)) from error
    if missing == "fresh":
        return None
    raise TypeError(
        f"`trial` must be the live trial of an objective but got a {type(trial).__name__}, which "
        "inherits nothing. Pass `missing='fresh'` to run the objective with fresh weights; `load` "
        "and `load_path` return what a trial of a study has saved."
    )


def _inherit(
    trial: Trial,
    missing: Literal["error", "fresh"],
    read: Callable[[CheckpointRecord], _T],
    averaging: Averaging[_T] | None,
) -> _T | None:
    study = trial.study
    study_attrs = read_study_attrs(study)
    identity = StudyIdentity.of(study, study_attrs)
    system_attrs = read_system_attrs(study, trial)
    partial = _of_earlier_run(trial, system_attrs, identity)
    if partial is not None:
        try:
            state = read(partial)
        except CheckpointError as error:
            _logger.warning("%s Trial %d starts from its parent.", error, trial.number)
        else:
            record_earlier_run(trial, partial)
            Mixed.write(_mixed_in(trial, partial, identity), trial, system_attrs, identity)
            return state
    lineage = Lineage.recorded(trial.number, system_attrs, identity)
    if lineage is None and missing == "error" and Generations.recorded(study, study_attrs):
        _require_older_than_the_population(trial, identity)
    record = None if lineage is None else _of_parent(trial, lineage, missing, identity)
    if lineage is None or record is None:
        return None
    state, mixed = read(record), None
    if averaging is not None and lineage.mate is not None:  # PBT has no mates, nor have elites
        state, mixed = _averaged(trial, lineage.mate, state, read, averaging, identity)
    Mixed.write(mixed, trial, system_attrs, identity)
    return state


def _of_parent(
    trial: Trial, lineage: Lineage, missing: Literal["error", "fresh"], identity: StudyIdentity
) -> CheckpointRecord | None:
    """Return the record of the parent's checkpoint; None where the trial starts afresh.

    Raises:
        CheckpointError: The parent saved none, though it should have, or does not exist.
    """
    if lineage.parent is None:
        return None
    parent = read_trial(trial.study, lineage.parent)
    if parent is None:
        raise CheckpointError(
            f"Trial {lineage.parent}, the parent of trial {trial.number}, does not exist."
        )
    record = CheckpointRecord.own(parent.number, parent.system_attrs, identity)
    if record is not None and record.final:
        return record
    bred_by_us = Lineage.recorded(parent.number, parent.system_attrs, identity) is not None
    if missing == "fresh" or not bred_by_us:
        return None
    raise CheckpointError(
        f"Trial {parent.number}, the parent of trial {trial.number}, saved no checkpoint. "
        "Call `save` in the objective before it returns, or pass `missing='fresh'` if fresh "
        "weights are meant."
    )


def _averaged(
    trial: Trial,
    mate: int,
    state: _T,
    read: Callable[[CheckpointRecord], _T],
    averaging: Averaging[_T],
    identity: StudyIdentity,
) -> tuple[_T, Mixed | None]:
    """Return the parent's state averaged with the mate's, or as it is where that cannot be."""

    def read_mate() -> _T:
        other = read_trial(trial.study, mate)
        if other is not None:
            record = CheckpointRecord.own(mate, other.system_attrs, identity)
            if record is not None and record.final:
                return read(record)
        raise NotAveragedError("the mate saved no checkpoint")

    try:
        return averaging.average(state, read_mate), Mixed(mate, averaging.weight)
    except (NotAveragedError, CheckpointError) as error:
        _logger.warning(
            "Trial %d starts from its parent alone, not from an average with its mate, trial %d: "
            "%s.",
            trial.number,
            mate,
            str(error).rstrip("."),
        )
        return state, None


def _mixed_in(trial: Trial, partial: CheckpointRecord, identity: StudyIdentity) -> Mixed | None:
    """Return what an earlier run, from whose checkpoint a trial goes on, had started from."""
    earlier = read_trial(trial.study, partial.trial)
    if earlier is None:
        return None
    try:
        return Mixed.recorded(earlier.number, earlier.system_attrs, identity)
    except AttrError as error:  # no weights depend on it
        pass_over(str(error))
        return None


def _of_earlier_run(
    trial: Trial, system_attrs: Mapping[str, Any], identity: StudyIdentity
) -> CheckpointRecord | None:
    """Return the partial checkpoint that an earlier run of a trial saved, before it was cut off.

    It was there when this run's live trial was made: at ask for a retry, by `reopen`, or in the
    new process of a task that is run again. What this run saves itself replaces it, and is not
    inherited: in a cross-validation, the next fold would begin with a network that has seen its
    validation data. A live trial that is pickled or forked in the middle of its run takes along
    what it began with, so the copy belongs to the same run.
    """
    if system_attrs.get(CHECKPOINT.key) != attrs_at_start(trial).get(CHECKPOINT.key):
        return None
    return CheckpointRecord.partial(trial.number, system_attrs, identity)


def _require_older_than_the_population(trial: Trial, identity: StudyIdentity) -> None:
    """Raise unless a trial that has no lineage was asked before a sampler of ours was first used.

    Raises:
        CheckpointError: It was asked later, so somebody has left out the sampler.
    """
    study = trial.study
    earlier = study.get_trials(deepcopy=False)[: trial.number]
    if any(was_bred_here(other.number, other.system_attrs, identity) for other in earlier):
        raise CheckpointError(
            f"Trial {trial.number} of study {study.study_name!r} has no parent to inherit from: "
            f"{type(study.sampler).__name__} asked it, though a sampler of epbt_optuna has begun "
            "this study. Pass that sampler when you open the study, as in "
            "`optuna.load_study(..., sampler=EPBTSampler(...))`, or pass `missing='fresh'` if "
            "fresh weights are meant."
        )


def record_saved_by(trial: Trial | FrozenTrial) -> CheckpointRecord:
    """Return the record of what a trial saved.

    Raises:
        TypeError: It is no trial of a study.
        CheckpointError: It saved no checkpoint, or its record cannot be read.
    """
    require_of_study(trial)
    if isinstance(trial, Trial):
        attrs = read_system_attrs(trial.study, trial)
        record = CheckpointRecord.own(trial.number, attrs, StudyIdentity.of(trial.study))
    else:
        record = CheckpointRecord.own(trial.number, trial.system_attrs, None)
    if record is None:
        raise CheckpointError(f"Trial {trial.number} saved no checkpoint.")
    return record
