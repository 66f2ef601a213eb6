"""When each step of a schedule began, whatever an objective's steps count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import optuna
import pytest
from optuna.distributions import FloatDistribution

from epbt_optuna import EPBTSampler
from epbt_optuna.lineage import Schedule, ScheduleStep
from epbt_optuna.lineage.times import training_times

EPOCHS = "epochs of training (one a report)"


def schedule(*reports: Sequence[int] | None) -> Schedule:
    """Return a schedule whose trials reported at these steps."""
    steps = [
        ScheduleStep(n, n, len(r), {"x": 0.5}, reported=(r[0], r[-1]) if r else None)
        for n, r in enumerate(one or () for one in reports)
    ]
    return Schedule("by hand", {"x": FloatDistribution(0, 1)}, tuple(steps))


@pytest.mark.parametrize(
    ("reports", "bounds", "name"),
    [
        ([range(4), range(4, 8)], [0, 4, 8], EPOCHS),
        ([range(1, 5), range(5, 9)], [0, 4, 8], EPOCHS),
        ([range(4), range(4), range(2)], [0, 4, 8, 10], EPOCHS),
        ([[0], [0], [0]], [0, 1, 2, 3], EPOCHS),
        ([[0], [1], [2]], [0, 1, 2, 3], EPOCHS),
        ([range(100, 500, 100), range(500, 900, 100)], [0, 400, 800], "steps reported"),
        ([range(0, 400, 100), range(400, 800, 100)], [0, 400, 800], "steps reported"),
        ([range(100, 500, 100), range(100, 300, 100)], [0, 400, 600], "steps reported, added up"),
        ([range(0, 40, 10), range(0, 40, 10)], [0, 40, 80], "steps reported, added up"),
        ([[8], [16], [24]], [0, 8, 16, 24], "steps reported"),
        ([[5], [5]], [0, 5, 10], "steps reported, added up"),
        ([range(2), None, range(2, 4)], [0, 2, 2, 4], EPOCHS),
        ([None, None], [0, 1, 2], "trials of the ancestry"),
    ],
)
def test_time_is_the_steps_that_trials_reported(
    reports: Iterable[Sequence[int] | None], bounds: list[float], name: str
) -> None:
    assert training_times(schedule(*reports)) == (bounds, name)


def test_a_schedule_of_an_earlier_version_counts_reports() -> None:
    steps = (ScheduleStep(0, 0, 3, {}), ScheduleStep(1, 1, 2, {}))
    assert training_times(Schedule("old", {}, steps)) == ([0, 3, 5], "reports")


def test_the_steps_reported_are_read_from_the_study_and_written_to_the_file() -> None:
    def objective(trial: optuna.Trial) -> float:
        for step in (50, 100, 150):
            trial.report(trial.number, 150 * (trial.number // 4) + step)
        return trial.number + trial.suggest_float("x", 0, 1)

    study = optuna.create_study(direction="maximize", sampler=EPBTSampler(4, n_elites=1, seed=0))
    study.optimize(objective, n_trials=5)
    one = Schedule.from_study(study)
    assert [step.reported for step in one.steps] == [(50, 150), (200, 300)]
    assert Schedule.from_json(one.to_json()) == one
    assert training_times(one) == ([0, 150, 300], "steps reported")


def test_studies_go_on_to_replay_a_schedule_that_they_began_before_it_had_its_steps() -> None:
    new = schedule(range(4))
    old = Schedule("by hand", new.distributions, (ScheduleStep(0, 0, 4, {"x": 0.5}),))
    assert new != old
    assert new.digest == old.digest
    assert "reported" not in old.to_json()


@pytest.mark.parametrize(
    ("n_reports", "reported", "message"),
    [
        (0, (0, 1), r"first and the last step of 0 reports but got \(0, 1\)"),
        (2, (0,), r"first and the last step of 2 reports but got \(0,\)"),
        (2, (-1, 3), r"`steps\[0\].reported\[0\]` must be at least 0 but got -1"),
        (2, (4, 3), r"`steps\[0\].reported\[1\]` must be at least 4 but got 3"),
    ],
)
def test_steps_that_cannot_be_are_refused(
    n_reports: int, reported: tuple[int, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Schedule("wrong", {}, (ScheduleStep(0, 0, n_reports, {}, reported=reported),))
