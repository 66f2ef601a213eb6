"""Trials that are enqueued, added, retried, or of another sampler."""

from __future__ import annotations

import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import RandomSampler
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import EPBTSampler
from tests.replay import check_lineage, lineage_of
from tests.samplers.studies import (
    SUGGESTIONS,
    bred,
    evolve,
    experimental,
    mate_of,
    numbers,
    parent_of,
    plain,
    rules_of,
    still,
    xy,
)


def test_an_enqueued_offspring_keeps_its_fixed_params_and_inherits_the_rest() -> None:
    sampler = still(population_size=6, seed=0)
    study = evolve(sampler, 6)
    study.enqueue_trial({"float": 1.25, "category": "b"})
    study.optimize(plain, n_trials=1)
    ((trial, parent),) = bred(study)
    assert trial.number == 6
    assert parent.number in numbers(sampler.get_population(study, 0))
    assert trial.params == {**parent.params, "float": 1.25, "category": "b"}


def test_an_enqueued_founder_keeps_its_fixed_params_and_the_rest_is_drawn() -> None:
    study = optuna.create_study(sampler=EPBTSampler(6, seed=0), direction="maximize")
    study.enqueue_trial({"float": 1.25})
    study.optimize(plain, n_trials=6)
    unfixed = evolve(EPBTSampler(6, seed=0), 6)
    assert study.trials[0].params == {**unfixed.trials[0].params, "float": 1.25}
    assert [t.params for t in study.trials[1:]] == [t.params for t in unfixed.trials[1:]]


def test_an_enqueued_trial_with_all_its_params_fixed_has_a_parent_too() -> None:
    sampler = EPBTSampler(6, seed=0)
    study = evolve(sampler, 6)
    everything = {**study.trials[0].params, "float": 0.5}
    study.enqueue_trial(everything)
    study.optimize(plain, n_trials=7)
    assert study.trials[6].params == everything
    check_lineage(study.trials, rules_of(sampler, study))
    assert parent_of(study.trials[6]) is not None


def test_enqueued_trials_are_the_individuals_that_their_numbers_make_them() -> None:
    sampler = EPBTSampler(4, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for i in range(7):
        study.enqueue_trial({"float": i / 10})
    study.optimize(plain, n_trials=9)
    check_lineage(study.trials, rules_of(sampler, study))
    assert [trial.params["float"] for trial in study.trials[:7]] == [i / 10 for i in range(7)]
    assert [parent_of(trial) is None for trial in study.trials] == [True] * 4 + [False] * 5


def added(value: float | None, state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
    return optuna.create_trial(
        state=state,
        value=value,
        params={"x": 0.125, "y": 0.25},
        distributions={name: FloatDistribution(0, 1) for name in "xy"},
    )


def test_added_trials_count_and_are_founders_and_parents() -> None:
    sampler = still(population_size=4, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials([added(5.0), added(6.0), added(None, TrialState.FAIL), added(7.0)])
    study.optimize(xy, n_trials=2)
    assert [lineage_of(trial) for trial in study.trials[:4]] == [None] * 4
    assert numbers(sampler.get_population(study, 0)) == [3, 1, 0]
    assert [trial.number for trial, _ in bred(study)] == [4, 5]
    for trial, parent in bred(study):
        assert parent.number in (3, 1)
        assert trial.params == parent.params


def test_a_trial_added_in_mid_run_takes_its_place_in_the_generation() -> None:
    sampler = EPBTSampler(4, seed=0)
    study = evolve(sampler, 5, xy)
    study.add_trial(added(100.0))
    study.optimize(xy, n_trials=4)
    alive = check_lineage(study.trials, rules_of(sampler, study))
    assert numbers(alive[1])[0] == 5
    assert numbers(sampler.get_population(study, 1)) == numbers(alive[1])


def test_offspring_of_a_trial_without_params_are_drawn() -> None:
    sampler = EPBTSampler(2, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials([optuna.create_trial(value=1.0), optuna.create_trial(value=2.0)])
    study.optimize(xy, n_trials=1)
    assert parent_of(study.trials[2]) in (0, 1)
    assert study.trials[2].params.keys() == {"x", "y"}


def test_trials_of_another_sampler_are_founders_and_parents() -> None:
    sampler = EPBTSampler(4, seed=0)
    study = evolve(RandomSampler(seed=0), 5, xy)
    study.sampler = sampler
    study.optimize(xy, n_trials=2)
    study.sampler = RandomSampler(seed=1)
    study.optimize(xy, n_trials=2)
    study.sampler = sampler
    study.optimize(xy, n_trials=4)
    alive = check_lineage(study.trials, rules_of(sampler, study))
    recorded = [lineage_of(trial) is not None for trial in study.trials]
    assert recorded == [False] * 5 + [True] * 2 + [False] * 2 + [True] * 4
    for generation in range(5):
        assert numbers(sampler.get_population(study, generation)) == numbers(alive[generation])


def fail_after_suggesting(study: optuna.Study, names: tuple[str, ...]) -> FrozenTrial:
    trial = study.ask()
    for name in names:
        SUGGESTIONS[name](trial)
    study.tell(trial, state=TrialState.FAIL)
    return study.trials[trial.number]


@experimental
def test_a_retried_trial_keeps_parent_mate_and_params_though_its_generation_is_another() -> None:
    sampler = EPBTSampler(4, seed=0)
    study = evolve(sampler, 4)
    failed = fail_after_suggesting(study, ("float", "int"))
    study.optimize(plain, n_trials=3)
    retry = RetryHeartbeatStaleTrialCallback()
    retry(study, failed)
    study.optimize(plain, n_trials=1)
    retried = study.trials[8]
    record = lineage_of(failed)
    assert record is not None
    assert lineage_of(retried) == {**record, "generation": 3}
    assert (sampler.generation_of(4), sampler.generation_of(8)) == (1, 3)
    assert failed.params.items() <= retried.params.items()
    assert retried.params.keys() == SUGGESTIONS.keys()
    check_lineage(study.trials, rules_of(sampler, study))


@experimental
def test_a_trial_that_is_retried_again_and_again_keeps_its_parent() -> None:
    sampler = EPBTSampler(4, seed=0)
    study = evolve(sampler, 4)
    first = failed = fail_after_suggesting(study, ("float",))
    for _ in range(3):
        RetryHeartbeatStaleTrialCallback()(study, failed)
        failed = fail_after_suggesting(study, ("float", "int"))
    assert (parent_of(failed), mate_of(failed)) == (parent_of(first), mate_of(first))
    assert failed.params["float"] == first.params["float"]
    check_lineage(study.trials, rules_of(sampler, study))


@experimental
def test_a_retried_founder_stays_a_founder() -> None:
    sampler = EPBTSampler(4, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    failed = fail_after_suggesting(study, ("float",))
    study.optimize(plain, n_trials=6)
    RetryHeartbeatStaleTrialCallback()(study, failed)
    study.optimize(plain, n_trials=1)
    assert lineage_of(study.trials[7]) == {"generation": 2, "parent": None, "mate": None}
    assert study.trials[7].params["float"] == failed.params["float"]
    assert study.trials[7].params.keys() == SUGGESTIONS.keys()
    check_lineage(study.trials, rules_of(sampler, study))


@experimental
def test_a_retried_trials_missing_params_are_bred_from_the_recorded_parent() -> None:
    study = evolve(still(population_size=4, seed=0), 4)
    RetryHeartbeatStaleTrialCallback()(study, fail_after_suggesting(study, ()))
    study.optimize(plain, n_trials=1)
    (failed, parent_of_failed), (retried, parent) = bred(study)
    assert parent.number == parent_of_failed.number
    assert (failed.params, retried.params) == ({}, parent.params)
