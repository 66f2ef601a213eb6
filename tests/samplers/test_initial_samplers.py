"""Samplers that have drawn all there is begin a study, and do not end it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.pruners import HyperbandPruner
from optuna.samplers import BaseSampler, BruteForceSampler, GridSampler, RandomSampler, TPESampler

from epbt_optuna import EPBTSampler, PBTSampler, ask_generation, parallel
from tests.constraints import set_constraint
from tests.samplers.studies import AnySampler, both_samplers, experimental

pytestmark = experimental

GRID: dict[str, list[Any]] = {"n": [0, 3, 6], "kind": ["a", "b"]}


class StopsAtEveryTrial(RandomSampler):
    def after_trial(self, study: optuna.Study, *_: Any) -> None:
        study.stop()


def objective(trial: optuna.Trial) -> float:
    n = trial.suggest_int("n", 0, 9, step=3)
    return n + (trial.suggest_categorical("kind", ["a", "b"]) == "a")


STOPPING = pytest.mark.parametrize(
    ("make", "n_points"),
    [(lambda: GridSampler(GRID, seed=0), 6), (lambda: BruteForceSampler(seed=0), 8),
     (lambda: StopsAtEveryTrial(seed=0), 1)],
)  # fmt: skip


def points(study: optuna.Study, n: int) -> int:
    """Return how many different points the first n trials are."""
    return len({(t.params["n"], t.params["kind"]) for t in study.trials[:n]})


@STOPPING
@pytest.mark.parametrize("population_size", [6, 8, 12])
@both_samplers
def test_a_sampler_that_stops_does_not_end_the_run(
    sampler_class: type[AnySampler],
    make: Callable[[], BaseSampler],
    n_points: int,
    population_size: int,
) -> None:
    sampler = sampler_class(population_size, initial_sampler=make(), seed=0)
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=sampler.n_trials(3))
    assert len(study.trials) == sampler.n_trials(3)
    assert points(study, population_size) >= min(n_points, population_size)


@STOPPING
def test_a_sampler_that_stops_can_be_asked_and_told(
    make: Callable[[], BaseSampler], n_points: int
) -> None:
    study = optuna.create_study(sampler=EPBTSampler(9, initial_sampler=make(), seed=0))
    space = {
        "n": IntDistribution(0, 9, step=3),
        "kind": CategoricalDistribution(["a", "b"]),
    }
    for n_asked in (9, 5, 5):
        trials = ask_generation(study, space)
        assert len(trials) == n_asked
        for trial in trials:
            study.tell(trial, trial.params["n"])
    assert points(study, 9) >= n_points


@STOPPING
def test_a_sampler_that_stops_does_not_end_a_parallel_run(
    make: Callable[[], BaseSampler], n_points: int
) -> None:
    study = optuna.create_study(sampler=EPBTSampler(9, initial_sampler=make(), seed=0))
    parallel.optimize(study, objective, n_generations=3, workers=2, engine="thread")
    assert len(study.trials) == 19
    assert points(study, 9) >= n_points - 2  # samplers do not see each other's last point


def test_hyperbands_view_of_a_study_is_not_stopped_either() -> None:
    sampler = EPBTSampler(6, initial_sampler=GridSampler(GRID, seed=0), seed=0)
    study = optuna.create_study(sampler=sampler, pruner=HyperbandPruner())
    study.optimize(objective, n_trials=12)
    assert len(study.trials) == 12


@STOPPING
def test_what_the_user_stops_is_stopped(make: Callable[[], BaseSampler], n_points: int) -> None:  # noqa: ARG001
    study = optuna.create_study(sampler=EPBTSampler(9, initial_sampler=make(), seed=0))

    def stop(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if trial.number == 4:
            study.stop()

    study.optimize(objective, n_trials=20, callbacks=[stop])
    assert len(study.trials) == 5


def test_what_the_objective_stops_is_stopped_in_the_trial_that_ends_a_grid() -> None:
    study = optuna.create_study(
        sampler=EPBTSampler(9, initial_sampler=GridSampler(GRID, seed=0), seed=0)
    )

    def stops(trial: optuna.Trial) -> float:
        if trial.number == 5:
            study.stop()
        return objective(trial)

    study.optimize(stops, n_trials=20)
    assert len(study.trials) == 6


# PBT's members that go on


def test_a_member_that_goes_on_is_neither_bred_again_nor_judged() -> None:
    judged = []

    def never(params: Any) -> bool:
        judged.append((threading.get_ident(), dict(params)))
        return False

    sampler = PBTSampler(4, feasible=never, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=4)
    with pytest.warns(UserWarning, match="None of 100 bred genomes was `feasible`"):
        study.optimize(objective, n_trials=4)
    assert len(judged) == 100  # one of four took another's genome
    goes_on = [n for n in range(4) if study.trials[4 + n].params == study.trials[n].params]
    assert len(goes_on) >= 3


@pytest.mark.filterwarnings("ignore:`constraints_func` has been deprecated")
@pytest.mark.parametrize("in_objective", [False, True])
def test_constraints_that_an_initial_sampler_sets_of_founders_alone_are_said_once(
    in_objective: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def constrained(trial: optuna.Trial) -> float:
        if in_objective:
            set_constraint(trial, "mine", 1.0)
        return objective(trial)

    founders = TPESampler(seed=0, constraints_func=lambda trial: (trial.params["n"] - 1.0,))
    sampler = EPBTSampler(4, initial_sampler=None if in_objective else founders, seed=0)
    optuna.create_study(sampler=sampler).optimize(constrained, n_trials=8)
    lines = [line for line in caplog.messages if "has set constraints of founder 0" in line]
    assert len(lines) == (not in_objective)
