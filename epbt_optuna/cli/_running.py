"""`epbt running`: the trials that are running, and an end for those whose process is gone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import read_trial
from epbt_optuna.checkpoints.preemption import resume
from epbt_optuna.checkpoints.reports import reports_of
from epbt_optuna.cli._console import Row, console, fitted_table
from epbt_optuna.population import Generations

__all__ = ["end_running", "print_running"]


def print_running(study: Study, numbers: Sequence[int]) -> None:
    """Print a line for each trial that is running: since when, and how far it is.

    Raises:
        ValueError: One of the numbers is not of a running trial.
    """
    trials = _running(study, numbers)
    generations = Generations.recorded(study)
    identity, read = StudyIdentity.of(study), partial(read_trial, study)
    rows: list[Row] = []
    for trial in trials:
        began = trial.datetime_start
        step = trial.last_step
        cells = (
            str(trial.number),
            "" if generations is None else str(generations.of(trial.number)),
            "" if began is None else f"{began:%Y-%m-%d %H:%M:%S}",
            "" if began is None else str(datetime.now() - began).split(".")[0],
            str(len(reports_of(trial, identity, read))),
            "" if step is None else f"{trial.intermediate_values[step]:.4g}",
        )
        rows.append((cells, None))
    terminal = console()
    terminal.print(f"{study.study_name}: {len(trials)} trials running", style="bold")
    if not rows:
        return
    columns = ("trial", "gen", "running since", "for", "reports", "last report")
    terminal.print(fitted_table(terminal, columns, rows, expendable=("gen", "reports")))


def end_running(study: Study, numbers: Sequence[int], action: str) -> str:
    """Fail or resume running trials, and return what was done as a sentence.

    Args:
        study: The study.
        numbers: Which; all if empty.
        action: `"fail"` or `"resume"`.

    Raises:
        ValueError: One of the numbers is not of a running trial.
    """
    trials = _running(study, numbers)
    for trial in trials:
        if action == "resume":
            resume(study, trial)
        else:
            study.tell(trial.number, state=TrialState.FAIL)
    if not trials:
        return f"Study {study.study_name!r} has no running trials."
    listed = ", ".join(str(trial.number) for trial in trials)
    if action == "resume":
        return f"Failed, and queued to be trained again: {listed}."
    return f"Failed: {listed}."


def _running(study: Study, numbers: Sequence[int]) -> list[FrozenTrial]:
    trials = study.get_trials(deepcopy=False)
    for number in numbers:
        if number >= len(trials):
            raise ValueError(
                f"There is no trial {number} in study {study.study_name!r}, which has "
                f"{len(trials)} trials."
            )
        if trials[number].state != TrialState.RUNNING:
            raise ValueError(f"Trial {number} is not running but {trials[number].state.name}.")
    wanted = set(numbers)
    return [
        trial
        for trial in trials
        if trial.state == TrialState.RUNNING and (not wanted or trial.number in wanted)
    ]
