"""What the other pictures show, as plain data."""

from __future__ import annotations

import math
import sys
from statistics import mean, median

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from epbt_optuna.lineage import Schedule, ScheduleStep
from epbt_optuna.visualization._figure_data.generations import generations_info
from epbt_optuna.visualization._figure_data.lineage import lineage_info
from epbt_optuna.visualization._figure_data.loss_functions import loss_functions_info
from epbt_optuna.visualization._figure_data.schedule import schedule_info
from epbt_optuna.visualization._style import grid_shape
from tests.visualization.studies import STUDIES, eight_trials, theta_study

# Generations


def test_fitness_is_that_of_the_population_and_counts_are_those_of_the_trials() -> None:
    info = generations_info(eight_trials())
    populations = [[0, 2, 3], [2, 3, 4], [3, 4, 6]]
    assert info.fitness == {
        "best": [max(alive) for alive in populations],
        "median": [median(alive) for alive in populations],
        "mean": pytest.approx([mean(alive) for alive in populations]),
        "worst": [min(alive) for alive in populations],
    }
    assert info.counts == {
        "complete": [3, 1, 1],
        "pruned": [1, 0, 0],
        "failed": [0, 1, 0],
        "unfinished": [0, 0, 1],
    }
    assert info.has_population


def test_values_that_are_not_finite_are_gaps() -> None:
    info = generations_info(STUDIES["infinite fitness"]())
    assert info.fitness["best"][0] == 0
    assert info.fitness["worst"][0] is None
    assert info.fitness["mean"][0] is None
    failed = generations_info(STUDIES["only failed and pruned"]())
    assert not failed.has_population
    assert set(failed.fitness["best"]) == set(failed.diversity) == {None}


@pytest.mark.parametrize("name", ["huge fitness", "only huge fitness"])
def test_values_next_to_infinity_are_gaps_and_beyond_the_colours(name: str) -> None:
    study = STUDIES[name]()
    fitness = generations_info(study).fitness
    assert all(value is None or abs(value) < 10 for values in fitness.values() for value in values)
    assert max(map(abs, lineage_info(study).colour_range)) < 10


# Schedules


def schedule() -> Schedule:
    steps = [
        ScheduleStep(0, 1, 2, {"lr": 0.1, "width": 3, "kind": "a"}),
        ScheduleStep(1, 5, 1, {"lr": 0.2, "width": 20, "kind": "b"}),
        ScheduleStep(3, 9, 3, {"lr": 0.3, "kind": "a"}),
    ]
    distributions = {
        "lr": FloatDistribution(1e-2, 1.0, log=True),
        "width": IntDistribution(0, 10),
        "kind": CategoricalDistribution(["b", "a", "c" * 20]),
    }
    return Schedule("by hand", distributions, tuple(steps))


def test_a_hyperparameter_holds_from_each_step_to_the_next() -> None:
    info = schedule_info(schedule(), None)
    assert info.times == [0, 2, 3, 6]
    assert info.time_name == "reports"
    kind, lr, width = info.curves
    assert (kind.name, lr.name, width.name) == ("kind", "lr", "width")
    assert lr.values == [0.1, 0.2, 0.3, 0.3]
    assert (lr.is_log, width.is_log) == (True, False)
    assert lr.limits == pytest.approx((10**-2.1, 10**0.1))
    assert kind.values == [1, 0, 1, 1]
    assert kind.categories == ["b", "a", "ccccccccccc…"]


def test_a_step_without_the_parameter_is_a_gap_and_a_value_beyond_its_range_is_seen() -> None:
    (width,) = schedule_info(schedule(), ["width"]).curves
    assert width.values == [3, 20, None, None]
    assert width.limits == (-1, 21)


def test_a_variable_that_no_step_has_is_an_empty_panel_over_its_range() -> None:
    nowhere = Schedule("nowhere", schedule().distributions, schedule().steps[2:])
    assert schedule_info(nowhere, ["width"]).curves[0].limits == (-0.5, 10.5)


@pytest.mark.parametrize(
    ("low", "high"), [(1e-300, 1e300), (5e-324, sys.float_info.max), (5e-324, 1e-300)]
)
def test_the_axis_of_a_log_range_stays_within_what_a_float_can_hold(
    low: float, high: float
) -> None:
    steps = (ScheduleStep(0, 0, 1, {"x": low}),)
    wide = Schedule("wide", {"x": FloatDistribution(low, high, log=True)}, steps)
    bottom, top = schedule_info(wide, None).curves[0].limits
    assert 0 < bottom <= low < high <= top < math.inf


def test_without_reports_time_is_counted_in_trials() -> None:
    steps = tuple(ScheduleStep(s.generation, s.trial, 0, s.params) for s in schedule().steps)
    silent = Schedule("silent", schedule().distributions, steps)
    info = schedule_info(silent, ["lr"])
    assert info.times == [0, 1, 2, 3]
    assert info.time_name == "trials of the ancestry"


def test_the_schedule_of_a_study_is_that_of_its_best_trial() -> None:
    study = eight_trials()
    assert schedule_info(study, None) == schedule_info(Schedule.from_study(study), None)


def test_a_schedule_that_cannot_be_shown_is_an_error_that_says_why() -> None:
    with pytest.raises(ValueError, match=r"`params` must be among \['kind', .* but got 'nope'"):
        schedule_info(schedule(), ["lr", "nope"])
    with pytest.raises(ValueError, match="has no parameters"):
        schedule_info(schedule(), [])
    with pytest.raises(ValueError, match="no best trial"):
        schedule_info(STUDIES["only failed and pruned"](), None)
    with pytest.raises(TypeError, match="`source` must be a study or a Schedule but got 3"):
        schedule_info(3, None)  # type: ignore[arg-type]


# Loss functions


def test_a_loss_is_equation_1_for_two_classes_less_its_value_at_1() -> None:
    theta = (0.5, -0.3, 2.0, 1.1, -0.7, 3.0, 0.4, -1.5)
    params = {f"theta_{i}": value for i, value in enumerate(theta)}
    step = ScheduleStep(0, 0, 1, params)
    one = Schedule("one", dict.fromkeys(params, FloatDistribution(-10, 10)), (step,))
    info = loss_functions_info(one, "theta_", scaled=False)

    def loss(y: float) -> float:
        total = 0.0
        for x_i, y_i in ((1.0, y), (0.0, 1.0 - y)):
            u, w = y_i - theta[1], x_i - theta[0]
            total += theta[2] * u + theta[3] * u**2 / 2 + theta[4] * u**3 / 6
            total += theta[5] * w * u + theta[6] * w * u**2 / 2 + theta[7] * w**2 * u / 2
        return -total / 2

    (curve,) = info.panels[0].curves
    assert (info.y[0], info.y[-1]) == (0.0, 1.0)
    assert curve.losses == pytest.approx([loss(y) - loss(1.0) for y in info.y], abs=1e-5)
    assert info.cross_entropy[0] is None
    assert info.cross_entropy[100] == pytest.approx(math.log(2))


def test_losses_are_in_the_order_of_training_and_say_when_they_took_over() -> None:
    study = theta_study(8, reports=3)
    info = loss_functions_info({"run 1": study, "run 2": study}, "theta_", scaled=True)
    assert [panel.name for panel in info.panels] == ["run 1", "run 2"]
    steps = Schedule.from_study(study).steps
    curves = info.panels[0].curves
    assert len(steps) > 1
    assert [curve.trial for curve in curves] == [step.trial for step in steps]
    assert [curve.time for curve in curves] == [3 * i for i in range(len(steps))]
    assert [info.position(curve) for curve in (curves[0], curves[-1])] == [0.0, 1.0]
    for curve in curves:
        assert (min(curve.losses), max(curve.losses)) == (0.0, 1.0)


def test_a_study_without_losses_is_an_error_that_names_the_trial() -> None:
    with pytest.raises(ValueError, match=r"Trial \d+ of study 'a <b> study' has no TaylorGLO loss"):
        loss_functions_info(eight_trials(), "theta_", scaled=False)
    with pytest.raises(ValueError, match="must name at least one"):
        loss_functions_info({}, "theta_", scaled=False)


# Style


def test_panels_fill_their_grid() -> None:
    assert [grid_shape(n) for n in (1, 2, 3, 4, 5, 6, 8, 9)] == [
        (1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (2, 3), (2, 4), (3, 4),
    ]  # fmt: skip
