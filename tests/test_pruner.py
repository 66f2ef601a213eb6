"""The pruner: who is stopped, for which reason, and who never is."""

from __future__ import annotations

import logging
import math
import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import permutations
from typing import Any, Literal, TypeVar

import numpy as np
import optuna
import pytest
from optuna.pruners import BasePruner, PatientPruner
from optuna.samplers import PartialFixedSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import EPBTPruner, EPBTSampler, PBTSampler, ask_generation
from epbt_optuna.evolution import EPBT, PBT
from epbt_optuna.operators import (
    GaussianMutation,
    PerturbOrResample,
    TournamentSelection,
    Truncation,
    UniformCrossover,
)
from epbt_optuna.population import Individual
from epbt_optuna.pruning.standing import Standing, n_all_ahead
from tests.constraints import set_constraint

T = TypeVar("T")

LOGGER = "optuna.epbt_optuna.pruning"
NAN, INF = math.nan, math.inf

Direction = Literal["maximize", "minimize"]
AnySampler = EPBTSampler | PBTSampler

experimental = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
both_directions = pytest.mark.parametrize("direction", ["maximize", "minimize"])
both_samplers = pytest.mark.parametrize("sampler_class", [EPBTSampler, PBTSampler])


@pytest.fixture
def log() -> Iterator[list[str]]:
    """What the pruner logs."""
    messages: list[str] = []

    class Collecting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger, handler = logging.getLogger(LOGGER), Collecting()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield messages
    logger.setLevel(logging.NOTSET)
    logger.removeHandler(handler)


def new_study(
    sampler: optuna.samplers.BaseSampler,
    pruner: BasePruner | None = None,
    direction: Direction = "maximize",
) -> optuna.Study:
    return optuna.create_study(
        direction=direction, sampler=sampler, pruner=EPBTPruner() if pruner is None else pruner
    )


def ask(study: optuna.Study, reports: Sequence[float], first_step: int = 0) -> optuna.Trial:
    trial = study.ask()
    for step, value in enumerate(reports, start=first_step):
        trial.report(value, step)
    return trial


def play(
    study: optuna.Study,
    reports: Sequence[float],
    fitness: float | None = None,
    state: TrialState | None = None,
    violation: float | None = None,
) -> None:
    """A whole trial; without a `fitness` that is its last report."""
    trial = ask(study, reports)
    if violation is not None:
        set_constraint(trial, "c", violation)
    if state is None:
        study.tell(trial, reports[-1] if fitness is None else fitness)
    else:
        study.tell(trial, state=state)


def founders(
    study: optuna.Study, n: int, n_reports: int = 2, sign: float = 1, first: int = 1
) -> None:
    """Finished trials with the fitness 1, 2, …, which each reports from the beginning."""
    for fitness in range(first, first + n):
        play(study, [sign * fitness] * n_reports)


def is_pruned(study: optuna.Study, *reports: float) -> bool:
    """Whether the next trial is pruned after these reports, all at once."""
    return ask(study, reports).should_prune()


# What ranks leave


def test_a_rank_expects_as_many_offspring_as_tournaments_without_replacement_give_it() -> None:
    p, k = 40, 20
    offspring = EPBTSampler(p).expected_offspring()
    expected = [(p - k) * 2 * (p - r) / (p * (p - 1)) + (r <= k) for r in range(1, p + 1)]
    assert offspring == pytest.approx(expected)
    assert offspring[23] == pytest.approx(16 / 39)  # rank 24: the last above the default
    assert offspring[24] == pytest.approx(15 / 39)
    assert sum(offspring[k:]) / (p - k) == pytest.approx(19 / 78)


@pytest.mark.parametrize(
    "sampler",
    [
        *(
            EPBTSampler(p, n_elites=k, selection=TournamentSelection(t))
            for p, k, t in [(40, 20, 2), (40, 0, 2), (40, 39, 2), (9, 4, 1), (9, 4, 3), (9, 4, 9)]
        ),
        EPBTSampler(10, selection=Truncation(0.3)),
        *(PBTSampler(p, exploit_fraction=f) for p, f in [(40, 0.25), (2, 0.5), (9, 0.2)]),
    ],
)
def test_a_population_leaves_one_for_one_and_the_fitter_no_less(sampler: AnySampler) -> None:
    offspring = sampler.expected_offspring()
    assert len(offspring) == sampler.population_size
    assert sum(offspring) == pytest.approx(len(offspring))
    assert offspring == sorted(offspring, reverse=True)
    assert min(offspring) >= 0


def test_members_of_pbt_go_on_but_the_worst_quarter_which_the_best_quarter_replaces() -> None:
    assert PBTSampler(8).expected_offspring() == [2, 2, 1, 1, 1, 1, 0, 0]


def test_members_that_were_lost_are_replaced_by_the_best_as_well() -> None:
    assert PBTSampler(8).expected_offspring(4) == [6, 1, 1, 0]
    assert PBTSampler(8).expected_offspring(1) == [8]


def test_a_population_smaller_than_a_tournament_competes_as_a_whole() -> None:
    sampler = EPBTSampler(8, selection=TournamentSelection(4))
    assert sampler.expected_offspring(3) == [4 + 1, 1, 1]


N_SELECTIONS = 20_000


def selected(select: Callable[[np.random.Generator], int], size: int) -> list[float]:
    """How often each rank was selected."""
    rng = np.random.default_rng(0)
    counts = np.bincount([select(rng) for _ in range(N_SELECTIONS)], minlength=size)
    return [float(count) for count in counts]


def assert_counts(observed: list[float], expected: list[float]) -> None:
    """Pearson's chi-square, five standard deviations above its mean at most."""
    possible = [(o, e) for o, e in zip(observed, expected, strict=True) if e > 0]
    assert sum(observed) == sum(o for o, _ in possible) == pytest.approx(sum(expected))
    freedom = len(possible) - 1
    statistic = sum((o - e) ** 2 / e for o, e in possible)
    assert statistic <= freedom + 5 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("p", [2, 7, 12])
@pytest.mark.parametrize(
    "selection",
    [*map(TournamentSelection, [1, 2, 3, 7]), Truncation(), Truncation(0.5)],
)
def test_the_odds_are_those_of_the_operator(
    selection: TournamentSelection | Truncation, p: int
) -> None:
    probabilities = selection.win_probabilities(p)
    assert math.fsum(probabilities) == pytest.approx(1)
    expected = [N_SELECTIONS * probability for probability in probabilities]
    assert_counts(selected(lambda rng: selection(range(p), rng), p), expected)


def individuals(p: int) -> tuple[Individual, ...]:
    """A population in which the numbers are ranks, from 0."""
    return tuple(Individual(rank, -float(rank)) for rank in range(p))


def test_parents_of_epbt_are_as_often_parents_as_expected() -> None:
    p = 10
    epbt = EPBT(p, TournamentSelection(3), GaussianMutation(), UniformCrossover())

    def parent(rng: np.random.Generator) -> int:
        lineage = epbt.select(99, 1, individuals(p), rng)
        assert lineage.parent is not None
        return lineage.parent

    assert_counts(selected(parent, p), epbt.expected_offspring(p, N_SELECTIONS))


def test_parents_of_pbt_are_as_often_parents_as_expected() -> None:
    p = 10
    pbt = PBT(p, Truncation(), PerturbOrResample())
    rng = np.random.default_rng(0)
    n_generations = 4_000
    counts = [0] * p
    for _ in range(n_generations):
        for member in range(p):
            lineage = pbt.select(p + member, 1, individuals(p), rng)
            assert lineage.parent is not None
            counts[lineage.parent] += 1
    expected = [n_generations * n for n in pbt.expected_offspring(p, p)]
    for observed, mean in zip(counts, expected, strict=True):
        assert observed == pytest.approx(mean, abs=5 * math.sqrt(n_generations))
    assert counts[-3:] == [0, 0, 0]


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


# No future: with whom an individual is compared, and how


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


# Divergence


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@both_directions
@pytest.mark.parametrize("sampler", [EPBTSampler(4, seed=0), PBTSampler(4, seed=0)])
def test_a_report_that_is_not_finite_is_a_reason_from_the_first_trial_on(
    sampler: AnySampler, direction: Direction, value: float
) -> None:
    pruner = EPBTPruner(n_warmup_steps=9, min_survivors=99)
    study = new_study(sampler, pruner, direction)
    assert is_pruned(study, value)
    assert is_pruned(study, 1.0, value)
    assert not is_pruned(study, value, 1.0)  # it has recovered


def test_reports_that_are_not_finite_can_be_let_pass() -> None:
    pruner = EPBTPruner(prune_non_finite=False, min_offspring=0)
    assert not is_pruned(new_study(EPBTSampler(4, seed=0), pruner), NAN)


@both_directions
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_where_they_are_they_are_compared_like_others_and_nan_is_the_least_fit(
    direction: Direction, value: float
) -> None:
    sign = 1 if direction == "maximize" else -1
    pruner = EPBTPruner(prune_non_finite=False)
    study = new_study(EPBTSampler(20, seed=0), pruner, direction)
    founders(study, 19, sign=sign)
    assert is_pruned(study, value) == (value != sign * INF)


def test_divergence_can_be_the_only_reason_and_then_any_sampler_will_do() -> None:
    study = new_study(RandomSampler(seed=0), EPBTPruner(min_offspring=0))
    founders(study, 19)
    assert not is_pruned(study, 0.5)
    assert is_pruned(study, NAN)


# Reasons are logged


def test_the_reason_is_logged_once_where_optuna_logs(
    log: list[str],
) -> None:
    study = new_study(EPBTSampler(20, seed=0))
    founders(study, 18)
    assert not is_pruned(study, 18.5)
    assert log == []
    assert is_pruned(study, NAN)
    study.tell(18, 18.5)
    study.tell(19, state=TrialState.PRUNED)
    for _ in range(9):
        play(study, [30.0, 30.0])
    assert is_pruned(study, 0.5)
    assert log == [
        "Trial 19 has no use for further training: it reported nan.",
        "Trial 29 has no use for further training: after report 1 it can expect 0 offspring, "
        "less than 0.4.",
    ]
    assert LOGGER.startswith("optuna.")


# Whole studies


def hill(trial: optuna.Trial) -> float:
    """Founders that are hopeless in half of the space, and so are their mutants."""
    x = trial.suggest_float("x", -1, 1)
    noise = np.random.default_rng(trial.number)
    value = 0.0
    for step in range(8):
        value = step * max(x, 0) + 0.01 * noise.normal()
        trial.report(value, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return value


def run(sampler: AnySampler, pruner: BasePruner, objective: Any = hill) -> optuna.Study:
    study = new_study(sampler, pruner)
    study.optimize(objective, n_trials=sampler.n_trials(4))
    return study


@both_samplers
def test_the_same_seed_gives_the_same_study(sampler_class: type[AnySampler]) -> None:
    one, other = (run(sampler_class(20, seed=1), EPBTPruner()) for _ in range(2))
    assert TrialState.PRUNED in {trial.state for trial in one.trials}
    for trial, twin in zip(one.trials, other.trials, strict=True):
        assert trial.state == twin.state
        assert trial.params == twin.params
        assert trial.intermediate_values == twin.intermediate_values


def test_a_generation_asked_at_once_and_trained_in_step_is_pruned_as_well() -> None:
    sampler = EPBTSampler(20, seed=0)
    study = new_study(sampler)
    states: list[set[TrialState]] = []
    for _ in range(4):
        running = ask_generation(study)
        for step in range(8):
            for trial in list(running):
                slope = 0.1 if trial.number % 2 else -1.0
                trial.report(len(states) + slope * step, step)
                if trial.should_prune():
                    study.tell(trial, state=TrialState.PRUNED)
                    running.remove(trial)
        for trial in running:
            study.tell(trial, study.trials[trial.number].intermediate_values[7])
        generation = sampler.trial_numbers(len(states))
        states.append({study.trials[n].state for n in generation})
    assert states[0] == {TrialState.COMPLETE}  # nobody knows yet what training brings
    assert TrialState.PRUNED in states[-1]


def test_many_workers_prune_too() -> None:
    sampler = EPBTSampler(20, seed=0)
    study = new_study(sampler)
    study.optimize(hill, n_trials=sampler.n_trials(4), n_jobs=4)
    for generation in range(4):
        numbers = sampler.trial_numbers(generation)
        assert any(study.trials[n].state == TrialState.COMPLETE for n in numbers)


@pytest.mark.parametrize(("min_survivors", "least"), [(2, 2), (18, 10)])
def test_every_generation_keeps_its_survivors(min_survivors: int, least: int) -> None:
    sampler = EPBTSampler(20, seed=0)
    pruner = EPBTPruner(min_survivors=min_survivors, min_offspring=1, n_min_trials=1)
    study = run(sampler, pruner)
    for generation in range(4):
        numbers = sampler.trial_numbers(generation)
        n_complete = sum(study.trials[n].state == TrialState.COMPLETE for n in numbers)
        assert n_complete >= min(least, len(numbers))


def training(trial: optuna.Trial, share_hopeless: float) -> float:
    """Everybody improves on the generation before, but for those who collapse."""
    trial.suggest_float("x", 0, 1)
    rng = np.random.default_rng(trial.number)
    is_hopeless = rng.random() < share_hopeless
    value = 0.0
    for step in range(8):
        n_trained = 8 * (trial.number // 20) + step
        value = 0.02 * n_trained - is_hopeless + 0.02 * rng.normal()
        trial.report(value, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return value


@pytest.mark.parametrize(
    ("share_hopeless", "least", "most"), [(0.5, 0.25, 0.45), (0.25, 0.1, 0.25), (0.0, 0.0, 0.05)]
)
def test_training_is_saved_by_as_much_as_there_are_hopeless_individuals(
    share_hopeless: float, least: float, most: float
) -> None:
    sampler = EPBTSampler(40, seed=0)
    study = new_study(sampler)
    n_trials = sampler.n_trials(6)
    study.optimize(partial(training, share_hopeless=share_hopeless), n_trials=n_trials)
    n_reports = sum(len(trial.intermediate_values) for trial in study.trials)
    assert least <= 1 - n_reports / (8 * n_trials) <= most


def test_only_trials_of_the_generation_and_its_parents_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = new_study(EPBTSampler(6, seed=0), EPBTPruner(n_min_trials=1))
    for number in range(60):
        play(study, [float(number)] * 2)
    trial = ask(study, [0.0])
    numbers = []
    get_trial = study._storage.get_trial

    def counting(trial_id: int) -> FrozenTrial:
        frozen = get_trial(trial_id)
        numbers.append(frozen.number)
        return frozen

    monkeypatch.setattr(study._storage, "get_trial", counting)
    assert trial.should_prune()
    assert len(numbers) < 12
    assert min(numbers) >= 51


@experimental
def test_patience_lets_a_trial_go_on_while_it_has_not_declined_for_long() -> None:
    study = new_study(EPBTSampler(20, seed=0), PatientPruner(EPBTPruner(), patience=2))
    founders(study, 19, n_reports=9)
    trial = study.ask()
    decisions = []
    for step, value in enumerate([0.1, 0.2, 0.3, 0.2, 0.2, 0.2]):
        trial.report(value, step)
        decisions.append(trial.should_prune())
    assert decisions == [False, False, False, False, False, True]
    study.tell(trial, 0.2)


@experimental
def test_patience_alone_does_not_prune_who_has_a_future() -> None:
    study = new_study(EPBTSampler(20, seed=0), PatientPruner(EPBTPruner(), patience=1))
    founders(study, 19, n_reports=9)
    assert not is_pruned(study, 19.5, 19.0, 18.9, 18.8)


def test_a_pruner_can_be_pickled_with_its_sampler() -> None:
    pruner = pickle.loads(pickle.dumps(EPBTPruner(sampler=EPBTSampler(20, seed=0))))
    study = new_study(RandomSampler(seed=0), pruner)
    founders(study, 19)
    assert is_pruned(study, 0.5)


# Bad input


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: EPBTPruner(min_offspring=-0.1),
            ValueError,
            "`min_offspring` must be at least 0 but got -0.1.",
        ),
        (
            lambda: EPBTPruner(min_offspring=1.5),
            ValueError,
            "`min_offspring` must be at most 1 but got 1.5.",
        ),
        (
            lambda: EPBTPruner(min_offspring="1"),  # type: ignore[arg-type]
            TypeError,
            "`min_offspring` must be a number but got '1'.",
        ),
        (
            lambda: EPBTPruner(n_warmup_steps=-1),
            ValueError,
            "`n_warmup_steps` must be at least 0 but got -1.",
        ),
        (
            lambda: EPBTPruner(n_min_trials=0),
            ValueError,
            "`n_min_trials` must be at least 1 but got 0.",
        ),
        (
            lambda: EPBTPruner(min_survivors=0),
            ValueError,
            "`min_survivors` must be at least 1 but got 0.",
        ),
        (
            lambda: EPBTPruner(min_survivors=2.0),  # type: ignore[arg-type]
            TypeError,
            "`min_survivors` must be an integer but got 2.0.",
        ),
        (
            lambda: EPBTPruner(sampler=RandomSampler()),
            TypeError,
            "`sampler` must be an EPBTSampler or a PBTSampler but got RandomSampler. Pass the one "
            "that breeds the population as `sampler`, or `min_offspring=0` to do without.",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name_rule_and_value(
    make: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        make()


def test_another_sampler_is_refused_at_the_first_report() -> None:
    message = "`study.sampler` must be an EPBTSampler or a PBTSampler but got RandomSampler."
    with pytest.raises(TypeError, match=f"^{re.escape(message)}"):
        is_pruned(new_study(RandomSampler(seed=0), EPBTPruner(n_warmup_steps=9)), 1.0)


@experimental
def test_a_wrapped_sampler_is_refused_until_it_is_passed_on() -> None:
    sampler = EPBTSampler(20, seed=0)
    wrapped = PartialFixedSampler({"x": 1.0}, sampler)
    with pytest.raises(TypeError, match="but got PartialFixedSampler"):
        is_pruned(new_study(wrapped), 1.0)
    study = new_study(wrapped, EPBTPruner(sampler=sampler))
    founders(study, 19)
    assert is_pruned(study, 0.5)


def test_a_selection_that_does_not_say_its_odds_is_refused_at_the_first_report() -> None:
    def newest(population: Sequence[T], rng: np.random.Generator) -> T:  # noqa: ARG001
        return population[-1]

    study = new_study(EPBTSampler(4, selection=newest, seed=0))
    with pytest.raises(TypeError, match="`selection` must have a method `win_probabilities"):
        is_pruned(study, 1.0)


def test_a_selection_of_the_users_own_that_says_its_odds_is_heard() -> None:
    class Everybody:
        def __call__(self, population: Sequence[T], rng: np.random.Generator) -> T:
            return population[int(rng.integers(len(population)))]

        def win_probabilities(self, population_size: int) -> list[float]:
            return [1 / population_size] * population_size

    study = new_study(EPBTSampler(20, selection=Everybody(), seed=0))
    founders(study, 19)
    assert not is_pruned(study, 0.5)  # 10 offspring are shared by 20


def test_an_exploit_that_does_not_say_its_odds_is_refused() -> None:
    class Keep:
        def exploit(
            self,
            population: Sequence[T],
            member: T | None,
            rng: np.random.Generator,  # noqa: ARG002
        ) -> T:
            return population[0] if member is None else member

    with pytest.raises(TypeError, match="`exploit` must be a Truncation to say who can expect"):
        PBT(4, Keep(), PerturbOrResample()).expected_offspring(4, 4)
