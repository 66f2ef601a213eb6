"""The rank below which a trial is pruned, and the options that change it."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from optuna.trial import TrialState

from epbt_optuna import EPBTPruner, EPBTSampler, PBTSampler
from epbt_optuna.operators import TournamentSelection
from epbt_optuna.pruning.standing import Standing, n_all_ahead
from tests.pruning.generations import (
    Direction,
    ask,
    both_directions,
    founders,
    is_pruned,
    new_study,
    play,
)

# No future: the rank that decides


@both_directions
@pytest.mark.parametrize(("n_fitter", "expected"), [(23, False), (24, True), (39, True)])
def test_with_the_papers_settings_ranks_from_25_on_have_no_future(
    direction: Direction, n_fitter: int, expected: bool
) -> None:
    sign = 1 if direction == "maximize" else -1
    study = new_study(EPBTSampler(40, seed=0), direction=direction)
    founders(study, 39, sign=sign)
    assert is_pruned(study, sign * (39.5 - n_fitter)) == expected


@both_directions
@pytest.mark.parametrize(("n_fitter", "expected"), [(29, False), (30, True)])
def test_in_pbt_it_is_the_worst_quarter_that_has_no_future(
    direction: Direction, n_fitter: int, expected: bool
) -> None:
    sign = 1 if direction == "maximize" else -1
    study = new_study(PBTSampler(40, seed=0), direction=direction)
    founders(study, 39, sign=sign)
    assert is_pruned(study, sign * (39.5 - n_fitter)) == expected


@pytest.mark.parametrize(
    ("min_offspring", "n_fitter", "expected"),
    [
        (0.3, 13, False),  # rank 14 of 20 expects 6/19
        (0.3, 14, True),  # rank 15 expects 5/19
        (5 / 19, 14, False),  # no less than that
        (0.25, 14, False),
        (0.25, 15, True),
        (1.0, 9, False),  # rank 10 is an elite
        (1.0, 10, True),
        (0.01, 18, False),
        (0.01, 19, True),  # the least fit never wins a tournament of two
        (0.0, 19, False),
    ],
)
def test_min_offspring_is_the_number_below_which_an_individual_is_pruned(
    min_offspring: float, n_fitter: int, expected: bool
) -> None:
    study = new_study(EPBTSampler(20, seed=0), EPBTPruner(min_offspring=min_offspring))
    founders(study, 19)
    assert is_pruned(study, 19.5 - n_fitter) == expected


def test_elites_are_never_without_a_future_however_few_offspring_there_are() -> None:
    # One offspring a generation: even the fittest expects only a tenth of it.
    sampler = EPBTSampler(20, n_elites=19, seed=0)
    assert sampler.expected_offspring()[18] > 1
    study = new_study(sampler, EPBTPruner(min_offspring=1))
    founders(study, 19)
    assert not is_pruned(study, 1.5)
    study = new_study(sampler, EPBTPruner(min_offspring=1))
    founders(study, 19)
    assert is_pruned(study, 0.5)


@pytest.mark.parametrize("n_finished", range(5, 20))
def test_where_selection_is_blind_everybody_has_the_mean(n_finished: int) -> None:
    sampler = EPBTSampler(20, n_elites=0, selection=TournamentSelection(1), seed=0)
    study = new_study(sampler, EPBTPruner(min_offspring=1))
    founders(study, n_finished)
    assert not is_pruned(study, 0.5)


def test_equals_count_as_less_fit() -> None:
    study = new_study(EPBTSampler(20, seed=0))
    for _ in range(19):
        play(study, [1.0, 1.0])
    assert not is_pruned(study, 1.0)


def test_siblings_that_have_not_come_so_far_may_turn_out_fitter_or_not() -> None:
    # Where a of a are fitter, one of the others is with (a + 1)/(a + 2).
    for a in (2, 5):
        study = new_study(EPBTSampler(40, n_elites=0, seed=0))
        founders(study, a)
        ask(study, [0.0])
        rank = a + 1 + (39 - a) * (a + 1) / (a + 2)
        expected = 2 * (40 - rank) / 39
        limits = (expected - 1e-6, expected + 1e-6)
        pruners = [EPBTPruner(n_min_trials=1, min_offspring=limit) for limit in limits]
        assert [p.prune(study, study.trials[a]) for p in pruners] == [False, True]


@pytest.mark.parametrize(("m", "u"), [(0, 0), (0, 3), (1, 2), (2, 2), (3, 0), (2, 4)])
def test_unknown_siblings_are_ahead_as_often_as_in_all_orders_of_equals(m: int, u: int) -> None:
    counts = np.zeros((m + 1, m + u + 1))
    for own, *others in permutations(range(m + 1 + u)):
        counts[sum(o > own for o in others[:m]), sum(o > own for o in others)] += 1
    shares = counts / counts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(n_all_ahead(m, u), shares, rtol=1e-9, atol=1e-12)


def test_the_expectation_is_that_of_simulated_generations() -> None:
    rng = np.random.default_rng(0)
    own, siblings, n_unknown = 0.5, [0.1, 0.4, 0.6, 0.9, 2.0], 3
    finals, gains = [0.2, 0.8, 1.1], [0.0, 0.1, 0.3, 0.3, 1.0]
    offspring = [5.0, 3.0, 2.0, 1.0, 0.5, 0.25, 0.2, 0.1, 0.0, 0.0, 0.0, 0.0]
    standing = Standing(own, siblings, n_unknown, finals, gains)
    assert standing.population_size == len(offspring)
    left = []
    for _ in range(40_000):
        gain = rng.choice(gains)
        n_ahead = sum(s + rng.choice(gains) > own + gain for s in siblings)
        share_ahead = rng.beta(n_ahead + 1, len(siblings) - n_ahead + 1)  # of equals
        n_ahead += rng.binomial(n_unknown, share_ahead)
        left.append(offspring[n_ahead + sum(final > own + gain for final in finals)])
    error = np.std(left) / math.sqrt(len(left))
    assert standing.expect(offspring) == pytest.approx(np.mean(left), abs=5 * error)


def test_many_gains_are_represented_by_a_few_of_them() -> None:
    offspring = EPBTSampler(40).expected_offspring()
    siblings = list(np.random.default_rng(0).normal(size=30))
    for own in (-2, 0, 2):
        few, many = (
            Standing(own, siblings, 9, [], list(np.linspace(-1, 2, n))).expect(offspring)
            for n in (32, 311)
        )
        assert few == pytest.approx(many, rel=1e-6)


# No future: the options


@pytest.mark.parametrize("n_warmup_steps", [0, 1, 3])
def test_nobody_lacks_a_future_while_warming_up(n_warmup_steps: int) -> None:
    study = new_study(EPBTSampler(20, seed=0), EPBTPruner(n_warmup_steps=n_warmup_steps))
    founders(study, 19, n_reports=6)
    trial = study.ask()
    decisions = []
    for step in range(6):
        trial.report(0.5, step)
        decisions.append(trial.should_prune())
    n_pruned = 5 - n_warmup_steps
    assert decisions == [False] * n_warmup_steps + [True] * n_pruned + [False]


def test_after_the_last_report_nobody_is_pruned_as_nothing_is_left_to_save() -> None:
    study = new_study(EPBTSampler(20, seed=0))
    founders(study, 19, n_reports=3)
    assert is_pruned(study, 0.5, 0.5)
    study = new_study(EPBTSampler(20, seed=0))
    founders(study, 19, n_reports=3)
    assert not is_pruned(study, 0.5, 0.5, 0.5)


def test_a_trial_that_has_not_reported_is_not_pruned() -> None:
    study = new_study(EPBTSampler(20, seed=0))
    founders(study, 19)
    assert not is_pruned(study)


@pytest.mark.parametrize(("n_finished", "expected"), [(6, False), (7, True)])
def test_n_min_trials_must_have_finished_before_anybody_lacks_a_future(
    n_finished: int, expected: bool
) -> None:
    study = new_study(EPBTSampler(20, seed=0), EPBTPruner(n_min_trials=7))
    founders(study, n_finished)
    for _ in range(5):
        ask(study, [10.0])  # running
        play(study, [10.0], 10.0)  # not trained on from there
    assert is_pruned(study, 0.5) == expected


def test_while_few_siblings_have_finished_the_last_population_tells_what_training_brings() -> None:
    for spread, expected in ((0, True), (1000, False)):
        study = new_study(PBTSampler(20, seed=0))
        for fitness, gain in enumerate(np.linspace(0, spread, 20), start=1):
            play(study, [fitness - gain, fitness])
        running = [ask(study, [20.0]) for _ in range(19)]
        assert is_pruned(study, 0.5) == expected
        assert {study.trials[trial.number].state for trial in running} == {TrialState.RUNNING}


def test_min_survivors_are_left_to_breed() -> None:
    for n_lost, expected in ((12, True), (13, False)):
        study = new_study(EPBTSampler(20, seed=0), EPBTPruner(min_survivors=7))
        founders(study, 6, first=5)
        for i in range(n_lost):
            play(study, [4.0], state=[TrialState.PRUNED, TrialState.FAIL][i % 2])
        for _ in range(13 - n_lost):
            ask(study, [4.0])
        assert is_pruned(study, 0.5) == expected


def test_more_survivors_than_a_generation_has_are_all_of_it() -> None:
    study = new_study(EPBTSampler(20, seed=0), EPBTPruner(min_survivors=99))
    founders(study, 19)
    assert not is_pruned(study, 0.5)
