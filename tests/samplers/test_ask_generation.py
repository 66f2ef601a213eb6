"""ask_generation: a whole generation asked at once, for users who train it as one batch."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState

from epbt_optuna import EPBTSampler, PBTSampler, ask_generation
from tests.replay import Rules, check_lineage, lineage_of

SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(0, 1),
    "y": FloatDistribution(1e-3, 1, log=True),
}

AnySampler = EPBTSampler | PBTSampler


def study_with(sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    return optuna.create_study(direction="maximize", sampler=sampler)


def numbers(trials: list[optuna.Trial]) -> list[int]:
    return [trial.number for trial in trials]


def fitness(trial: optuna.Trial) -> float:
    x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 1e-3, 1, log=True)
    return math.nan if trial.number % 7 == 3 else x - y


def tell(study: optuna.Study, trial: optuna.Trial) -> None:
    value = fitness(trial)
    if trial.number % 5 == 2:
        study.tell(trial, state=TrialState.PRUNED)
    elif math.isnan(value):
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, value)


def objective(trial: optuna.Trial) -> float:
    value = fitness(trial)
    if trial.number % 5 == 2:
        raise optuna.TrialPruned
    return value


def history_of(study: optuna.Study) -> list[tuple[object, ...]]:
    return [(t.number, t.state, t.params, t.values, lineage_of(t)) for t in study.trials]


@pytest.mark.parametrize(
    ("sampler", "sizes"),
    [
        (EPBTSampler(6, n_elites=4), [6, 2, 2]),
        (EPBTSampler(4, n_elites=0), [4, 4, 4]),
        (PBTSampler(5), [5, 5, 5]),
    ],
)
def test_generation_0_has_p_trials_and_every_later_one_what_its_elites_leave(
    sampler: AnySampler, sizes: list[int]
) -> None:
    study = study_with(sampler)
    for generation, size in enumerate(sizes):
        trials = ask_generation(study)
        assert len(trials) == size
        assert numbers(trials) == list(sampler.trial_numbers(generation))
        for trial in trials:
            study.tell(trial, 0.0)


@pytest.mark.parametrize("make", [lambda: EPBTSampler(6, seed=4), lambda: PBTSampler(6, seed=4)])
@pytest.mark.parametrize("shuffle_seed", range(3))
@pytest.mark.parametrize("distributions", [None, SPACE])
def test_told_in_any_order_a_study_is_the_one_that_optimize_makes(
    make: Callable[[], AnySampler],
    shuffle_seed: int,
    distributions: dict[str, BaseDistribution] | None,
) -> None:
    serial = study_with(make())
    n_trials = make().n_trials(6)
    serial.optimize(objective, n_trials=n_trials)
    order = random.Random(shuffle_seed)
    batched = study_with(make())
    while len(batched.trials) < n_trials:
        trials = ask_generation(batched, distributions)
        order.shuffle(trials)
        for trial in trials:
            tell(batched, trial)
    assert history_of(batched) == history_of(serial)


def test_given_distributions_are_suggested_already() -> None:
    for trial in ask_generation(study_with(EPBTSampler(4)), SPACE):
        assert trial.params.keys() == SPACE.keys()


def test_without_distributions_nothing_is_suggested_yet() -> None:
    assert all(trial.params == {} for trial in ask_generation(study_with(EPBTSampler(4))))


def test_trials_that_were_asked_already_are_not_asked_again() -> None:
    study = study_with(EPBTSampler(6))
    first = [study.ask() for _ in range(2)]
    study.tell(first[0], 1.0)
    assert numbers(ask_generation(study)) == [2, 3, 4, 5]


def test_after_the_last_trial_of_a_generation_the_next_one_is_asked() -> None:
    study = study_with(EPBTSampler(4, seed=0))
    for trial in ask_generation(study):
        study.tell(trial, 0.0)
    study.tell(study.ask(), 0.0)
    assert numbers(ask_generation(study)) == [5]


def test_enqueued_trials_come_first_and_keep_their_params() -> None:
    study = study_with(EPBTSampler(4, seed=0))
    study.tell(study.ask(SPACE), 0.0)
    for x in (0.25, 0.5):
        study.enqueue_trial({"x": x})
    trials = ask_generation(study, SPACE)
    assert numbers(trials) == [1, 2, 3]
    assert [trial.params["x"] for trial in trials[:2]] == [0.25, 0.5]


def test_enqueued_trials_beyond_the_generation_wait_for_theirs() -> None:
    study = study_with(EPBTSampler(4, seed=0))
    for i in range(5):
        study.enqueue_trial({"x": i / 10})
    founders = ask_generation(study, SPACE)
    assert [trial.params["x"] for trial in founders] == [0.0, 0.1, 0.2, 0.3]
    for trial in founders:
        study.tell(trial, trial.params["x"])
    offspring = ask_generation(study, SPACE)
    assert numbers(offspring) == [4, 5]
    assert offspring[0].params["x"] == 0.4


def test_added_trials_take_their_place_in_the_generation() -> None:
    study = study_with(EPBTSampler(4, seed=0))
    study.enqueue_trial({"x": 0.25})
    study.add_trial(
        optuna.create_trial(value=1.0, params={"x": 0.5}, distributions={"x": SPACE["x"]})
    )
    assert numbers(ask_generation(study)) == [0, 2, 3]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_retried_trials_are_asked_with_the_generation_of_their_number() -> None:
    study = study_with(EPBTSampler(4, seed=0))
    founders = ask_generation(study, SPACE)
    for trial in founders[1:]:
        study.tell(trial, float(trial.number))
    study.tell(founders[0], state=TrialState.FAIL)
    RetryHeartbeatStaleTrialCallback()(study, study.trials[0])
    retried, fresh = ask_generation(study, SPACE)
    assert retried.params == founders[0].params
    assert (retried.number, fresh.number) == (4, 5)
    records = [lineage_of(trial) for trial in study.trials[4:]]
    assert records[0] == {"generation": 1, "parent": None, "mate": None}
    check_lineage(study.trials, Rules(4, 2, study.direction))


@pytest.mark.parametrize(
    "sampler",
    [optuna.samplers.RandomSampler(), optuna.samplers.NSGAIISampler(population_size=4)],
)
def test_a_study_with_another_sampler_is_refused_by_its_name(
    sampler: optuna.samplers.BaseSampler,
) -> None:
    study = study_with(sampler)
    message = (
        "^`study.sampler` must be an EPBTSampler or a PBTSampler but got "
        rf"{type(sampler).__name__}\.$"
    )
    with pytest.raises(TypeError, match=message):
        ask_generation(study)
    assert study.trials == []


@pytest.mark.parametrize(
    ("distributions", "message"),
    [
        ([("x", FloatDistribution(0, 1))], "must be a mapping of names to distributions but got"),
        ({"x": FloatDistribution}, "must have distributions of Optuna for values but has 'x'"),
        ({"x": (0, 1)}, r"must have distributions of Optuna for values but has 'x': \(0, 1\)"),
        ({1: FloatDistribution(0, 1)}, "must have names for keys but has 1"),
    ],
)
def test_distributions_that_are_none_are_refused_before_a_trial_is_asked(
    distributions: Any, message: str
) -> None:
    study = study_with(EPBTSampler(4, seed=0))
    with pytest.raises(TypeError, match=f"^`fixed_distributions` {message}"):
        ask_generation(study, distributions)
    assert not study.trials
