"""Preemption: a trial that was cut off goes on, in a retry or as itself."""

from __future__ import annotations

from optuna import Study, Trial, create_trial
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.checks import check_of_study
from epbt_optuna._internal.optuna import read_trial
from epbt_optuna._internal.optuna_loop import reopen_trial

__all__ = ["reopen", "resume"]


def reopen(study: Study, trial: FrozenTrial) -> Trial:
    """Go on with a trial that was cut off: same number, and so same genome and same parent.

    For ask/tell with one worker. Unlike a retry it takes no number of its own, so a run that was
    cut off ends, trial by trial, like one that was not. `CheckpointStore.inherit` gives the trial
    what it last saved with `final=False`, or else its parent's checkpoint.

    Args:
        study: The study.
        trial: A RUNNING trial that no process works on any more: nothing tells a dead process
            from a slow one.

    Returns:
        The trial, to be trained and told.

    Raises:
        ValueError: The trial is not RUNNING, or is another study's.

    Example:
        ```python
        for left in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
            trial = reopen(study, left)  # at start, where no other worker is at work
            study.tell(trial, objective(trial))
        ```
    """
    if trial.state != TrialState.RUNNING:
        raise ValueError(f"`trial` must be RUNNING but trial {trial.number} is {trial.state.name}.")
    check_of_study(study.study_name, trial, read_trial(study, trial.number))
    return reopen_trial(study, trial.number)


def resume(study: Study, trial: FrozenTrial) -> None:
    """Queue a trial that was cut off to be run again: same params, same parent.

    What Optuna's heartbeat does for `study.optimize` on a relational database
    (`optuna.storages.RetryHeartbeatStaleTrialCallback`), for ask/tell and for every storage. The
    next trial asked is the retry; `CheckpointStore.inherit` gives it what the trial last saved
    with `final=False`, or else its parent's checkpoint. Like any trial, the retry takes a number;
    what had been reported until that was saved counts as its own.

    Args:
        study: The study.
        trial: A trial that no process works on any more: RUNNING, because its process died, or
            FAILED.

    Raises:
        ValueError: The trial is neither RUNNING nor FAILED, has ended since it was read, or is
            another study's.

    Example:
        ```python
        for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
            resume(study, trial)  # at start, where no other worker is at work
        ```
    """
    if trial.state not in (TrialState.RUNNING, TrialState.FAIL):
        raise ValueError(
            f"`trial` must be RUNNING or FAILED but trial {trial.number} is {trial.state.name}."
        )
    check_of_study(study.study_name, trial, read_trial(study, trial.number))
    if trial.state == TrialState.RUNNING:
        # Whatever it recorded since `trial` was read, such as a partial checkpoint, counts.
        trial = study.tell(trial.number, state=TrialState.FAIL)
    recorded = trial.system_attrs.get("retry_history")
    history = [*(recorded if isinstance(recorded, list) else ()), trial.number]
    first = trial.system_attrs.get("failed_trial", trial.number)
    study.add_trial(
        create_trial(
            state=TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs=trial.user_attrs,
            system_attrs={**trial.system_attrs, "failed_trial": first, "retry_history": history},
        )
    )
