"""When each step of a schedule began: by the steps that trials reported, where they did."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from epbt_optuna.lineage.schedule import Schedule, ScheduleStep

__all__ = ["TrainingTimes", "training_times"]


class TrainingTimes(NamedTuple):
    """A schedule's time.

    Attributes:
        bounds: When each step begins, and when the last one ends; a step that reported nothing
            has no length.
        name: What is counted.
    """

    bounds: list[float]
    name: str


class _Reports(NamedTuple):
    """Reports of one step of a schedule: at which steps of training the first and the last."""

    first: int
    last: int
    stride: float | None  # from one report to the next; None where there is only one


def training_times(schedule: Schedule) -> TrainingTimes:
    """Return when each step begins and the last one ends.

    Steps of training may go on along the ancestry (0 to 7, then 8 to 15), or begin anew in each
    trial (0 to 7, then 0 to 7); then they are added up. Where they are counted from 0, a report at
    step 7 is made after eight, else after seven. Where a report is a step, it is called an epoch.
    """
    counts = [step.n_reports for step in schedule.steps]
    if not any(counts):
        return TrainingTimes([*range(len(counts) + 1)], "trials of the ancestry")
    reports = [_reports(step) for step in schedule.steps if step.n_reports]
    known = [one for one in reports if one is not None]
    if len(known) < len(reports):
        return TrainingTimes([0, *accumulate(counts)], "reports")
    goes_on = all(one.last < other.first for one, other in pairwise(known))
    begin, lengths = _continued(known) if goes_on else (0.0, [_length(one) for one in known])
    remaining = iter(lengths)
    padded = [next(remaining) if count else 0.0 for count in counts]
    bounds = list(accumulate(padded, initial=begin))
    if padded == counts:
        return TrainingTimes(bounds, "epochs of training (one a report)")
    return TrainingTimes(bounds, "steps reported" if goes_on else "steps reported, added up")


def _reports(step: ScheduleStep) -> _Reports | None:
    if step.reported is None:
        return None
    first, last = step.reported
    stride = (last - first) / (step.n_reports - 1) if step.n_reports > 1 else None
    return _Reports(first, last, stride)


def _length(reports: _Reports) -> float:
    """Return how long a trial trained that counts its steps from its own beginning."""
    stride = reports.stride or float(reports.first or 1)
    return reports.last - reports.first + stride


def _continued(known: Sequence[_Reports]) -> tuple[float, list[float]]:
    """Return when steps that go on along the ancestry begin, and how long each trial trained."""
    founder = known[0]
    if founder.first == 0:  # a trial ends where the next one begins
        begin, final = 0.0, known[-1].stride or 1.0
        ends = [*(float(one.first) for one in known[1:]), known[-1].last + final]
    else:
        begin = max(0.0, founder.first - (founder.stride or founder.first))
        ends = [float(one.last) for one in known]
    return begin, [end - start for start, end in pairwise([begin, *ends])]
