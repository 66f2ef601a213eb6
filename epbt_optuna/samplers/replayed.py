"""What a study says of its replay: which schedule, and which trials have trained a step of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.attrs import REPLAY_POSITION, REPLAYED
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna.population import Generations, Lineage

__all__ = ["find_predecessor", "has_position", "is_recorded"]


def is_recorded(study: Study, attrs: Mapping[str, Any], digest: str) -> bool:
    """Return whether the study replays the schedule of this digest; False if it has not begun.

    Raises:
        ValueError: It was begun with another schedule, or is no replay.
    """
    recorded = REPLAYED.of_study(study, attrs)
    if recorded is None:
        if Generations.recorded(study, attrs) is None:
            return False
        raise ValueError(
            f"Study {study.study_name!r} was begun with another sampler of epbt_optuna: "
            "replay in a study of its own."
        )
    if recorded != digest:
        raise ValueError(
            f"Study {study.study_name!r} was begun with another schedule: replay this one in "
            "a study of its own."
        )
    return True


def find_predecessor(
    study: Study, trial: FrozenTrial, identity: StudyIdentity
) -> FrozenTrial | None:
    """Return the replay's last COMPLETE trial, but for the one that was just asked.

    Raises:
        ValueError: A trial still runs.
    """
    newest = None
    for other in study.get_trials(deepcopy=False):
        if other.number == trial.number:
            continue
        if other.state == TrialState.RUNNING:
            raise ValueError(
                f"Trial {other.number} of study {study.study_name!r} is still running, and "
                "steps are trained one after another: give each worker a study of its own. "
                "If no process works on it any more, pass it to `epbt_optuna.resume`."
            )
        if other.state == TrialState.COMPLETE and has_position(other, identity):
            newest = other
    return newest


def has_position(trial: FrozenTrial, identity: StudyIdentity) -> bool:
    """Tell whether a trial was asked in this replay, and has not come from another with its record.

    The lineage, which is recorded together with the position, says so.
    """
    is_ours = Lineage.recorded(trial.number, trial.system_attrs, identity) is not None
    return is_ours and REPLAY_POSITION.of_trial(trial.number, trial.system_attrs) is not None
