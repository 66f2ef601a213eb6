"""What objectives forget: to save, and to inherit. A study whose objective does is told once."""

from __future__ import annotations

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.attrs import AttrError
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import read_study_attrs, read_trial
from epbt_optuna._internal.text import get_logger
from epbt_optuna._internal.warn_once import warn_once
from epbt_optuna.checkpoints.calls import forget_call
from epbt_optuna.checkpoints.records import CheckpointError, CheckpointRecord
from epbt_optuna.population import Lineage

__all__ = ["warn_of_misuse"]

_logger = get_logger("epbt_optuna.checkpoints")


def warn_of_misuse(study: Study, trial: FrozenTrial, state: TrialState) -> None:
    """Warn if a trial that ends has handed on no checkpoint, or has used its parent's in no way.

    Both make a population's weights those of a random search. Nothing is said of objectives that
    use no checkpoints, nor where another process than this one called `inherit`: then only that
    one knows whether.

    Args:
        study: The study.
        trial: One that a sampler of ours has asked, just before it is told.
        state: The state that it ends in.
    """
    asked = forget_call(study, trial)
    if state != TrialState.COMPLETE:
        return
    try:
        record = CheckpointRecord.in_attrs(trial.number, trial.system_attrs)
        if asked and (record is None or record.trial != trial.number or not record.final):
            warn_once(
                _logger,
                study,
                "save",
                f"Trial {trial.number} has called `inherit` and completed without `save`: its "
                "children find no checkpoint. Call `save` in the objective before it returns",
            )
        elif record is not None and record.inherited is False:
            _warn_of_fresh_offspring(study, trial)
    except (AttrError, CheckpointError):  # damaged: who reads that record is told
        return


def _warn_of_fresh_offspring(study: Study, trial: FrozenTrial) -> None:
    attrs = read_study_attrs(study)
    identity = StudyIdentity.of(study, attrs)
    lineage = Lineage.recorded(trial.number, trial.system_attrs, identity)
    if lineage is None or lineage.parent is None:
        return
    parent = read_trial(study, lineage.parent)
    if parent is None or CheckpointRecord.own(parent.number, parent.system_attrs, identity) is None:
        return
    warn_once(
        _logger,
        study,
        "inherit",
        f"Trial {trial.number} has called `save` and never `inherit`: unless the weights of its "
        f"parent, trial {parent.number}, reached it in another way, it began with fresh ones. Call "
        "`inherit` in the objective before it trains",
    )
