"""With whom an individual is compared, and how."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from epbt_optuna import EPBTPruner, EPBTSampler, PBTSampler
from tests.pruning.generations import INF, NAN, ask, founders, is_pruned, new_study, play


def test_a_lead_that_training_makes_of_equals_is_none() -> None:
    # As far apart as above, but in the rest of their training trials gain anything up to 1000.
    study = new_study(EPBTSampler(40, seed=0))
    gains = np.random.default_rng(0).permutation(np.linspace(0, 1000, 39))
    for value, gain in enumerate(gains, start=1):
        play(study, [value, value + gain])
    assert not is_pruned(study, 0.5)


def test_siblings_are_compared_after_the_same_number_of_reports_whatever_the_steps() -> None:
    study = new_study(EPBTSampler(20, seed=0))
    for fitness in range(1, 20):  # every value is what it was, but the weights are older
        trial = ask(study, [0.0, fitness, fitness], first_step=100 * fitness)
        study.tell(trial, fitness)
    assert not is_pruned(study, 0.1)  # all had reported 0 by then
    study = new_study(EPBTSampler(20, seed=0))
    for fitness in range(1, 20):
        trial = ask(study, [0.0, fitness, fitness], first_step=100 * fitness)
        study.tell(trial, fitness)
    trial = ask(study, [0.0, 0.1], first_step=7)
    assert trial.should_prune()


def test_reports_count_in_the_order_of_their_steps() -> None:
    study = new_study(EPBTSampler(20, seed=0))
    for fitness in range(1, 20):
        trial = study.ask()
        for step in (2, 1, 0):
            trial.report([0.0, fitness, fitness][step], step)
        study.tell(trial, fitness)
    assert not is_pruned(study, 0.1)


def test_the_latest_report_decides_not_the_best() -> None:
    study = new_study(EPBTSampler(20, seed=0))
    founders(study, 19, n_reports=3)
    assert is_pruned(study, 99.0, 0.5)


def with_offspring(study: optuna.Study, n_founders: int, fitness: float) -> None:
    """A finished generation 0, and offspring that all report and reach `fitness`."""
    founders(study, n_founders, n_reports=3)
    sampler = study.sampler
    assert isinstance(sampler, EPBTSampler | PBTSampler)
    for _ in range(len(sampler.trial_numbers(1)) - 1):
        play(study, [fitness] * 3)


def test_elites_must_be_beaten_as_well() -> None:
    # Its siblings are its equals: but for the elites it would be the fittest.
    study = new_study(EPBTSampler(20, n_elites=16, seed=0))
    with_offspring(study, 20, fitness=0.5)
    assert is_pruned(study, 0.5)
    study = new_study(EPBTSampler(20, n_elites=16, seed=0))
    with_offspring(study, 20, fitness=0.5)
    assert not is_pruned(study, 14.0)  # six of sixteen elites are fitter


def test_elites_are_compared_by_their_fitness_less_what_training_still_brings() -> None:
    def trained(gain: float) -> optuna.Study:
        study = new_study(EPBTSampler(20, n_elites=16, seed=0))
        for fitness in range(1, 21):  # the elites are the 16 from 5 on
            play(study, [fitness - gain] * 2 + [fitness])
        for _ in range(3):
            play(study, [0.5, 0.5, 0.5 + gain])
        return study

    assert is_pruned(trained(gain=0.0), 0.5)
    assert is_pruned(trained(gain=4.0), 0.5)
    assert not is_pruned(trained(gain=6.0), 0.5)
    assert not is_pruned(trained(gain=30.0), 0.5)


def test_only_the_elites_of_the_last_population_count_not_those_who_die() -> None:
    study = new_study(EPBTSampler(20, n_elites=2, seed=0))
    founders(study, 20, first=10)
    founders(study, 17, first=-8)
    assert not is_pruned(study, 0.5)  # 18 founders are fitter too, but will be gone


def test_equals_of_elites_have_a_future() -> None:
    study = new_study(EPBTSampler(20, n_elites=16, seed=0))
    for _ in range(23):
        play(study, [5.0] * 2)
    assert not is_pruned(study, 5.0)


def test_pbt_has_no_elites_and_compares_with_this_generation_alone() -> None:
    study = new_study(PBTSampler(20, seed=0))
    with_offspring(study, 20, fitness=0.5)
    assert not is_pruned(study, 0.5)
    study = new_study(PBTSampler(20, seed=0))
    with_offspring(study, 20, fitness=0.5)
    assert is_pruned(study, 0.4)


def test_siblings_that_were_pruned_later_still_show_what_was_usual() -> None:
    study = new_study(EPBTSampler(20, seed=0), EPBTPruner(n_min_trials=1))
    founders(study, 5, first=10)
    for _ in range(14):
        play(study, [5.0, 0.0], state=TrialState.PRUNED)
    assert is_pruned(study, 4.0)
    assert study.trials[-1].number == 19


@pytest.mark.parametrize("state", [TrialState.PRUNED, TrialState.FAIL])
def test_siblings_that_were_lost_before_are_less_fit_so_pruning_does_not_feed_on_itself(
    state: TrialState,
) -> None:
    study = new_study(EPBTSampler(20, seed=0))
    founders(study, 11, n_reports=3)
    for _ in range(8):
        play(study, [0.0], state=state)
    assert not is_pruned(study, 0.5, 0.5)  # rank 12 of 20, though the last of 12


def test_siblings_that_reported_nan_by_then_are_the_least_fit() -> None:
    study = new_study(EPBTSampler(20, seed=0))
    founders(study, 11)
    for _ in range(8):
        play(study, [NAN, 1.0], 50.0)
    assert not is_pruned(study, 0.5)


def test_infeasible_siblings_and_elites_are_less_fit() -> None:
    study = new_study(EPBTSampler(20, seed=0))
    for fitness in range(1, 20):
        play(study, [fitness] * 2, violation=float(fitness > 11))
    assert not is_pruned(study, 0.5)
    study = new_study(EPBTSampler(20, n_elites=12, seed=0))
    for fitness in range(1, 21):
        play(study, [fitness] * 2, violation=1.0)
    for _ in range(7):
        play(study, [0.5] * 2)
    assert not is_pruned(study, 0.5)


def test_a_constraint_that_is_met_does_not_matter() -> None:
    study = new_study(EPBTSampler(20, seed=0))
    for fitness in range(1, 20):
        play(study, [fitness] * 2, violation=0.0)
    assert is_pruned(study, 0.5)


def test_trials_that_were_added_are_compared_by_their_fitness() -> None:
    added = [optuna.create_trial(value=float(value)) for value in range(10, 24)]
    study = new_study(EPBTSampler(20, seed=0))
    founders(study, 5, first=30)
    study.add_trials(added)
    assert is_pruned(study, 1.0)
    study = new_study(EPBTSampler(20, seed=0))
    founders(study, 5, first=30)
    study.add_trials(added)
    assert not is_pruned(study, 25.0)  # rank 6; nobody knows what they had reported


def test_trials_without_a_lineage_belong_to_the_generation_of_their_number() -> None:
    study = new_study(RandomSampler(seed=0), EPBTPruner(sampler=EPBTSampler(20, seed=0)))
    founders(study, 19)
    assert is_pruned(study, 0.5)
    assert "epbt:lineage" not in study.trials[19].system_attrs


def test_a_trial_that_reports_without_end_or_a_fitness_that_is_infinite_disturbs_nobody() -> None:
    study = new_study(EPBTSampler(20, seed=0))
    founders(study, 15)
    for fitness in (INF, -INF, INF):
        play(study, [1.0, fitness])
    play(study, [INF, 1.0])
    assert is_pruned(study, 0.5)
    study.tell(19, 0.5)
    assert not is_pruned(study, 21.0)
