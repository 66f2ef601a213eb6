"""What was reported of a network's training within one generation, its earlier runs included.

A retry goes on with the network of the trial that was cut off, from a partial checkpoint. What
that trial had reported when it saved it belongs to this network's training, and so to the retry;
what it reported afterwards belongs to a network that is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from optuna import Trial
from optuna.trial import FrozenTrial

from epbt_optuna._internal.attrs import CONTINUED
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import read_trial, reports_so_far
from epbt_optuna.checkpoints.records import CheckpointRecord

__all__ = ["Report", "record_earlier_run", "reports_of"]


class Report(NamedTuple):
    """One call of `trial.report`."""

    step: int
    value: float


def reports_of(
    trial: FrozenTrial, identity: StudyIdentity, read: Callable[[int], FrozenTrial | None]
) -> list[Report]:
    """Return what was reported of the network that a trial trains, in order.

    These are the trial's own reports, by step, and before them those of the runs that it goes on
    with. The steps of a retry may go on from theirs; then each step is there once, as the retry
    has it. Or they may begin anew; then all are there.

    Args:
        trial: The trial.
        identity: Its study's identity: what another study's trial says of earlier runs is of
            trials there.
        read: Returns the study's trial with a number, or None if there is none.

    Raises:
        AttrError: A record of an earlier run cannot be read.
    """
    own = sorted(trial.intermediate_values.items())
    runs = [own]
    while (earlier := _earlier_run(trial, identity)) is not None:
        number, n_reports = earlier
        before = read(number)
        if before is None:
            break
        trial = before  # of a lower number: this ends
        runs.append(sorted(trial.intermediate_values.items())[:n_reports])
    reports: list[tuple[int, float]] = []
    for run in reversed(runs):
        if reports and run and run[0][0] > reports[0][0]:
            reports = [report for report in reports if report[0] < run[0][0]]
        reports += run
    return [Report(*report) for report in reports]


def record_earlier_run(trial: Trial, partial: CheckpointRecord) -> None:
    """Record in a running trial that it goes on from what an earlier run of it saved.

    Only a number and a count, however many the reports are: they stand in the earlier trial. There
    is nothing to be recorded where they stand in this one already: a trial that was reopened, and
    a retry to which Optuna has copied them (`inherit_intermediate_values=True`).
    """
    if partial.trial == trial.number or partial.n_reports is None:
        return
    earlier = read_trial(trial.study, partial.trial)
    steps = [] if earlier is None else sorted(earlier.intermediate_values)[: partial.n_reports]
    if steps and reports_so_far(trial).keys() >= set(steps):
        return
    record = {
        "number": trial.number,
        "trial": partial.trial,
        "n_reports": partial.n_reports,
        "token": partial.token,
    }
    CONTINUED.write_to_trial(trial.study, trial, record)


def _earlier_run(trial: FrozenTrial, identity: StudyIdentity) -> tuple[int, int] | None:
    """Return the number of the trial whose network a trial goes on with, and its reports so far."""
    record = CONTINUED.of_trial(trial.number, trial.system_attrs)
    if record is None or not identity.wrote(record, trial.number):
        return None
    if not 0 <= record["trial"] < trial.number or record["n_reports"] < 0:
        raise CONTINUED.unreadable(
            f"Trial {trial.number}",
            f"it goes on from report {record['n_reports']} of trial {record['trial']}, which must "
            "be one before it",
        )
    return record["trial"], record["n_reports"]
