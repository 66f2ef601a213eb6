"""Values that were bred, and that the objective's range excludes: said once in a study."""

from __future__ import annotations

from collections.abc import Callable

import optuna
import pytest

from epbt_optuna import EPBTSampler, PBTSampler
from tests.samplers.studies import AnySampler, Objective, one_float, still


def narrow(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 0.001)


def dependent(trial: optuna.Trial) -> float:
    low = trial.number % 3
    return trial.suggest_float("x", low, low + 0.5)


@pytest.mark.parametrize(
    "sampler",
    [
        lambda: still(population_size=4, seed=0),
        lambda: EPBTSampler(4, train_elites=True, seed=0),
        lambda: PBTSampler(4, seed=0),
    ],
)
@pytest.mark.parametrize(
    ("first", "then"), [(one_float, narrow), (dependent, dependent)], ids=["changed", "dependent"]
)
def test_a_value_that_the_range_has_come_to_exclude_is_drawn_anew_and_named(
    sampler: Callable[[], AnySampler],
    first: Objective,
    then: Objective,
    caplog: pytest.LogCaptureFixture,
) -> None:
    study = optuna.create_study(direction="maximize", sampler=sampler())
    study.optimize(first, n_trials=4)
    study.optimize(then, n_trials=20)
    [line] = caplog.messages
    assert "has x=" in line
    assert "from its parents, which the objective's" in line
    assert "excludes, so it is drawn anew" in line


def test_so_is_one_that_was_enqueued_out_of_its_range_and_that_a_member_was_to_go_on_with(
    caplog: pytest.LogCaptureFixture,
) -> None:
    study = optuna.create_study(direction="maximize", sampler=PBTSampler(4, seed=0))
    study.enqueue_trial({"x": 7.0})
    with pytest.warns(UserWarning, match="out of range"):
        study.optimize(one_float, n_trials=8)
    assert caplog.messages[0].startswith("Trial 4 has x=7.0 from its parents, which the objective")


@pytest.mark.parametrize("sampler", [EPBTSampler(4, seed=0), PBTSampler(4, seed=0)])
def test_nothing_is_said_where_values_stay_in_the_range_or_the_variable_is_new(
    sampler: AnySampler, caplog: pytest.LogCaptureFixture
) -> None:
    study = optuna.create_study(sampler=sampler)
    study.optimize(one_float, n_trials=12)
    study.optimize(lambda trial: trial.suggest_float("x", -1, 2), n_trials=12)
    study.optimize(lambda trial: trial.suggest_float("y", 0, 1), n_trials=12)
    assert not caplog.messages
