"""Founders, feasible offspring, and spaces that depend on the trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.samplers import GridSampler, PartialFixedSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from epbt_optuna import EPBTSampler
from tests.replay import check_lineage
from tests.samplers.studies import (
    SPACE,
    AnySampler,
    both_samplers,
    bred,
    evolve,
    experimental,
    one_float,
    rules_of,
    still,
)


def decreasing(params: Mapping[str, Any]) -> bool:
    return bool(params["x"] >= params["y"])


def xyz(trial: optuna.Trial) -> float:
    return sum(trial.suggest_float(name, 0, 1) for name in "xyz")


@both_samplers
def test_with_a_search_space_founders_and_offspring_are_feasible(
    sampler_class: type[AnySampler],
) -> None:
    sampler = sampler_class(10, search_space=SPACE, feasible=decreasing, seed=0)
    study = evolve(sampler, 60, xyz)
    assert all(decreasing(trial.params) for trial in study.trials)


def test_without_a_search_space_offspring_are_feasible_and_founders_need_not_be() -> None:
    study = evolve(EPBTSampler(10, feasible=decreasing, seed=0), 60, xyz)
    assert not all(decreasing(trial.params) for trial in study.trials[:10])
    assert all(decreasing(trial.params) for trial in study.trials[10:])


def test_feasible_judges_the_params_that_an_enqueued_trial_fixes() -> None:
    sampler = EPBTSampler(10, search_space=SPACE, feasible=decreasing, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial({"y": 0.5})
    study.optimize(xyz, n_trials=12)
    study.enqueue_trial({"y": 0.25})
    study.optimize(xyz, n_trials=1)
    for number, y in ((0, 0.5), (12, 0.25)):
        params = study.trials[number].params
        assert params["y"] == y
        assert decreasing(params)


def test_a_predicate_that_nothing_passes_gives_a_warning_and_not_a_hang() -> None:
    calls = []

    def never(params: Mapping[str, Any]) -> bool:
        calls.append(params)
        return False

    study = optuna.create_study(sampler=EPBTSampler(2, search_space=SPACE, feasible=never, seed=0))
    with pytest.warns(UserWarning, match="None of 100 bred genomes was `feasible`") as caught:
        study.optimize(xyz, n_trials=3)
    assert len(caught) == 3
    assert len(calls) == 300
    assert [trial.params for trial in study.trials] == calls[99::100]


def test_variables_of_the_search_space_that_the_objective_never_suggests_are_not_recorded() -> None:
    message = r"`search_space` has \['y', 'z'\], which the objective has suggested in no trial"
    with pytest.warns(UserWarning, match=message) as caught:
        study = evolve(EPBTSampler(4, search_space=SPACE, seed=0), 8, one_float)
    assert len(caught) == 1
    assert all(trial.params.keys() == {"x"} for trial in study.trials)


@experimental
def test_the_initial_sampler_draws_generation_0_only() -> None:
    alone = evolve(QMCSampler(seed=0), 8, xyz)
    sampler = still(population_size=8, initial_sampler=QMCSampler(seed=0), seed=0)
    study = evolve(sampler, 24, xyz)
    assert [t.params for t in study.trials[:8]] == [t.params for t in alone.trials]
    founders = [trial.params for trial in study.trials[:8]]
    assert all(trial.params in founders for trial in study.trials[8:])
    check_lineage(study.trials, rules_of(sampler, study))


@experimental
def test_with_a_search_space_a_quasi_random_sampler_draws_every_founder() -> None:
    sampler = EPBTSampler(
        8, initial_sampler=QMCSampler(seed=0, scramble=False), search_space=SPACE, seed=0
    )
    study = evolve(sampler, 8, xyz)
    halves = [tuple(trial.params[name] >= 0.5 for name in "xyz") for trial in study.trials]
    assert len(set(halves[:2])) == 2
    first = [trial.params["x"] for trial in study.trials]
    assert sorted(first) == [i / 8 for i in range(8)]


@experimental
def test_founders_of_an_initial_sampler_are_held_to_feasible_in_a_search_space() -> None:
    sampler = EPBTSampler(
        8, initial_sampler=QMCSampler(seed=0), search_space=SPACE, feasible=decreasing, seed=0
    )
    study = evolve(sampler, 8, xyz)
    assert all(decreasing(trial.params) for trial in study.trials)


def test_an_initial_sampler_without_relative_sampling_draws_every_variable() -> None:
    alone = evolve(RandomSampler(seed=3), 6, xyz)
    for search_space in (None, SPACE):
        sampler = EPBTSampler(
            6, initial_sampler=RandomSampler(seed=3), search_space=search_space, seed=0
        )
        study = evolve(sampler, 6, xyz)
        assert [t.params for t in study.trials] == [t.params for t in alone.trials]


def test_a_model_based_initial_sampler_learns_from_founders() -> None:
    n_told = 0

    class Counting(TPESampler):
        def after_trial(self, *args: Any, **kwargs: Any) -> None:
            nonlocal n_told
            n_told += 1
            super().after_trial(*args, **kwargs)

    alone = evolve(TPESampler(n_startup_trials=4, seed=0), 8, xyz)
    study = evolve(
        EPBTSampler(8, initial_sampler=Counting(n_startup_trials=4, seed=0), seed=0), 16, xyz
    )
    assert [t.params for t in study.trials[:8]] == [t.params for t in alone.trials]
    assert n_told == 8


@pytest.mark.parametrize("search_space", [None, SPACE])
def test_an_initial_sampler_that_prepares_each_trial_is_let_do_so(
    search_space: dict[str, BaseDistribution] | None,
) -> None:
    def grid() -> GridSampler:
        return GridSampler({name: [0.0, 0.5, 1.0] for name in "xyz"}, seed=0)

    sampler = EPBTSampler(8, initial_sampler=grid(), search_space=search_space, seed=0)
    study, alone = evolve(sampler, 8, xyz), evolve(grid(), 8, xyz)
    assert [t.params for t in study.trials] == [t.params for t in alone.trials]


@experimental
def test_params_can_be_fixed_for_a_while_with_optunas_own_wrapper() -> None:
    sampler = still(population_size=4, seed=0)
    study = evolve(sampler, 6, xyz)
    study.sampler = PartialFixedSampler({"y": 0.125}, sampler)
    study.optimize(xyz, n_trials=4)
    check_lineage(study.trials, rules_of(sampler, study))
    assert [trial.number for trial, _ in bred(study)] == [4, 5, 6, 7, 8, 9]
    for trial, parent in bred(study)[2:]:
        assert trial.params == {**parent.params, "y": 0.125}


@both_samplers
def test_ranges_may_depend_on_the_trial(sampler_class: type[AnySampler]) -> None:
    def objective(trial: optuna.Trial) -> float:
        high = 1 + trial.number % 5
        x = trial.suggest_float("x", 0, high)
        n = trial.suggest_int("n", 0, 10 * high, step=high)
        assert 0 <= x <= high
        assert n in range(0, 10 * high + 1, high)
        return x + n

    evolve(sampler_class(6, seed=0), 60, objective)


def test_variables_may_depend_on_other_variables() -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.suggest_categorical("optimizer", ["sgd", "adam"]) == "sgd":
            return trial.suggest_float("momentum", 0, 1)
        return trial.suggest_float("beta", 0, 1) + trial.suggest_float("eps", 1e-9, 1, log=True)

    sampler = EPBTSampler(6, seed=0)
    study = evolve(sampler, 60, objective)
    check_lineage(study.trials, rules_of(sampler, study))
    names = {"sgd": {"optimizer", "momentum"}, "adam": {"optimizer", "beta", "eps"}}
    assert all(trial.params.keys() == names[trial.params["optimizer"]] for trial in study.trials)
    offspring = [trial.params["optimizer"] for trial in study.trials[6:]]
    assert set(offspring) == {"sgd", "adam"}


def test_a_variable_that_joins_the_space_later_is_drawn_once_and_then_inherited() -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        return x if trial.number < 6 else trial.suggest_float("late", 0, 1)

    study = evolve(still(population_size=4, seed=0), 20, objective)
    pairs = [(trial.params["late"], parent.params.get("late")) for trial, parent in bred(study)[2:]]
    assert any(inherited is None for _, inherited in pairs)
    assert any(inherited is not None for _, inherited in pairs)
    assert all(late == inherited for late, inherited in pairs if inherited is not None)


@pytest.mark.parametrize("sampler", [EPBTSampler(2, seed=0), RandomSampler(seed=0)])
def test_choices_that_change_are_optunas_own_error_as_with_any_sampler(
    sampler: optuna.samplers.BaseSampler,
) -> None:
    study = evolve(sampler, 3, lambda t: float(t.suggest_categorical("c", [1, 2])))
    with pytest.raises(ValueError, match="does not support dynamic value space"):
        study.optimize(lambda t: float(t.suggest_categorical("c", [1, 2, 3])), n_trials=1)


def test_a_fixed_param_outside_its_range_does_not_spread_to_offspring() -> None:
    study = optuna.create_study(direction="maximize", sampler=EPBTSampler(2, seed=0))
    study.enqueue_trial({"x": 7.0})
    with pytest.warns(UserWarning, match="out of range"):
        study.optimize(one_float, n_trials=1)
    study.optimize(one_float, n_trials=20)
    assert all(0 <= trial.params["x"] <= 1 for trial in study.trials[1:])


def test_a_pruner_that_shows_samplers_a_part_of_the_study_does_not_disturb_populations() -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        for step in range(4):
            trial.report(x, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return x

    sampler = EPBTSampler(6, seed=0)
    study = optuna.create_study(
        direction="maximize", sampler=sampler, pruner=optuna.pruners.HyperbandPruner()
    )
    study.optimize(objective, n_trials=30)
    assert TrialState.PRUNED in {trial.state for trial in study.trials}
    check_lineage(study.trials, rules_of(sampler, study))
