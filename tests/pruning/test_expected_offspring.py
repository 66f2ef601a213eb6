"""How many offspring each rank can expect, and that it has as many."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from epbt_optuna import EPBTSampler, PBTSampler
from epbt_optuna.evolution import EPBT, PBT
from epbt_optuna.operators import (
    GaussianMutation,
    PerturbOrResample,
    TournamentSelection,
    Truncation,
    UniformCrossover,
)
from epbt_optuna.population import Individual
from tests.pruning.generations import AnySampler


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
