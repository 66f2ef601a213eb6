"""Selection: tournaments, truncation and PBT's exploit, elitism."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from math import comb
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epbt_optuna.operators import (
    Exploit,
    ParentSelection,
    SelectionOdds,
    TournamentSelection,
    Truncation,
)

N_TOURNAMENTS = 20_000
POPULATION = tuple("ABCDEFGH")  # the fittest first


def shares_of_wins(select: Callable[[np.random.Generator], str]) -> list[float]:
    """Return how often each of `POPULATION` was selected, in its order."""
    rng = np.random.default_rng(0)
    wins = Counter(select(rng) for _ in range(N_TOURNAMENTS))
    assert set(wins) <= set(POPULATION)
    return [wins[name] / N_TOURNAMENTS for name in POPULATION]


def assert_shares(observed: list[float], expected: list[float]) -> None:
    """Pearson's chi-square, five standard deviations above its mean at most."""
    possible = [(o, e) for o, e in zip(observed, expected, strict=True) if e > 0]
    assert all(o == 0 for o, e in zip(observed, expected, strict=True) if e == 0)
    freedom = len(possible) - 1
    statistic = N_TOURNAMENTS * sum((o - e) ** 2 / e for o, e in possible)
    assert statistic <= freedom + 5 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_tournament_is_won_as_often_as_drawing_without_replacement_says(size: int) -> None:
    p = len(POPULATION)
    # Rank r wins when it is drawn and the others come from the p − r less fit.
    expected = [comb(p - rank, size - 1) / comb(p, size) for rank in range(1, p + 1)]
    observed = shares_of_wins(lambda rng: TournamentSelection(size)(POPULATION, rng))
    assert_shares(observed, expected)


def test_in_tournaments_of_two_the_least_fit_never_wins_and_wins_fall_by_equal_steps() -> None:
    p = len(POPULATION)
    observed = shares_of_wins(lambda rng: TournamentSelection()(POPULATION, rng))
    assert_shares(observed, [2 * (p - rank) / (p * (p - 1)) for rank in range(1, p + 1)])
    assert observed[-1] == 0


def test_a_tournament_of_one_is_a_uniform_choice() -> None:
    observed = shares_of_wins(lambda rng: TournamentSelection(1)(POPULATION, rng))
    assert_shares(observed, [1 / len(POPULATION)] * len(POPULATION))


@pytest.mark.parametrize("size", [8, 9, 100])
def test_the_fittest_always_wins_a_tournament_of_everybody(size: int) -> None:
    rng = np.random.default_rng(0)
    assert {TournamentSelection(size)(POPULATION, rng) for _ in range(200)} == {"A"}


@pytest.mark.parametrize("fraction", [0.25, 0.5])
def test_truncation_chooses_the_fittest_fraction_with_equal_probability(fraction: float) -> None:
    n = int(fraction * len(POPULATION))
    observed = shares_of_wins(lambda rng: Truncation(fraction)(POPULATION, rng))
    assert_shares(observed, [1 / n] * n + [0.0] * (len(POPULATION) - n))


@pytest.mark.parametrize(
    "selection", [TournamentSelection(1), TournamentSelection(3), Truncation(0.2), Truncation(0.5)]
)
def test_a_selection_wins_as_often_as_it_says(
    selection: TournamentSelection | Truncation,
) -> None:
    assert isinstance(selection, SelectionOdds)
    observed = shares_of_wins(lambda rng: selection(POPULATION, rng))
    assert_shares(observed, list(selection.win_probabilities(len(POPULATION))))


@pytest.mark.parametrize("population_size", range(1, 12))
@pytest.mark.parametrize("selection", [TournamentSelection(5), Truncation(0.25)])
def test_in_any_population_somebody_wins_and_the_fitter_not_less_often(
    selection: SelectionOdds, population_size: int
) -> None:
    odds = list(selection.win_probabilities(population_size))
    assert len(odds) == population_size
    assert sum(odds) == pytest.approx(1)
    assert odds == sorted(odds, reverse=True)


def test_the_odds_of_tournaments_of_two_are_the_textbooks() -> None:
    odds = TournamentSelection(2).win_probabilities(5)
    assert odds == pytest.approx([4 / 10, 3 / 10, 2 / 10, 1 / 10, 0])


@pytest.mark.parametrize("selection", [TournamentSelection(2), Truncation()])
def test_the_only_individual_is_selected(selection: ParentSelection) -> None:
    assert selection(["only"], np.random.default_rng(0)) == "only"


@pytest.mark.parametrize("selection", [TournamentSelection(2), Truncation()])
def test_nobody_can_be_selected_from_an_empty_population(selection: ParentSelection) -> None:
    with pytest.raises(ValueError, match="`population` must have at least one individual"):
        selection([], np.random.default_rng(0))


def test_exploit_leaves_a_member_that_is_not_in_the_least_fit_quarter() -> None:
    exploit: Exploit = Truncation(0.25)
    for member in POPULATION[:6]:
        assert exploit.exploit(POPULATION, member, np.random.default_rng(0)) == member


@pytest.mark.parametrize("member", ["G", "H", None])
def test_exploit_replaces_the_least_fit_and_the_lost_by_one_of_the_fittest_quarter(
    member: str | None,
) -> None:
    observed = shares_of_wins(lambda rng: Truncation(0.25).exploit(POPULATION, member, rng))
    assert_shares(observed, [0.5, 0.5, 0, 0, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("n_members", "fraction", "n_replaced"),
    [(8, 0.25, 2), (10, 0.25, 3), (3, 0.25, 1), (2, 0.25, 1), (1, 0.5, 0), (5, 0.5, 2)],
)
def test_the_fraction_is_rounded_up_but_nobody_is_among_the_best_and_the_worst(
    n_members: int, fraction: float, n_replaced: int
) -> None:
    population = list(range(n_members))
    n_safe = n_members - n_replaced
    for seed in range(20):
        rng = np.random.default_rng(seed)
        sources = [Truncation(fraction).exploit(population, member, rng) for member in population]
        assert sources[:n_safe] == population[:n_safe]
        assert all(source < n_replaced for source in sources[n_safe:])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: TournamentSelection(0), ValueError, "`size` must be at least 1 but got 0."),
        (lambda: TournamentSelection(-3), ValueError, "`size` must be at least 1 but got -3."),
        (lambda: TournamentSelection(True), TypeError, "`size` must be an integer but got True."),
        (
            lambda: TournamentSelection(2.0),  # type: ignore[arg-type]
            TypeError,
            "`size` must be an integer but got 2.0.",
        ),
        (
            lambda: TournamentSelection("2"),  # type: ignore[arg-type]
            TypeError,
            "`size` must be an integer but got '2'.",
        ),
        (lambda: Truncation(0), ValueError, "`fraction` must be in (0, 0.5] but got 0."),
        (lambda: Truncation(0.51), ValueError, "`fraction` must be in (0, 0.5] but got 0.51."),
        (lambda: Truncation(-0.1), ValueError, "`fraction` must be in (0, 0.5] but got -0.1."),
        (lambda: Truncation(math.nan), ValueError, "`fraction` must be finite but got nan."),
        (lambda: Truncation(True), TypeError, "`fraction` must be a number but got True."),
        (
            lambda: Truncation("0.25"),  # type: ignore[arg-type]
            TypeError,
            "`fraction` must be a number but got '0.25'.",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name_rule_and_value(
    make: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        make()


def test_numpys_numbers_are_numbers() -> None:
    size: Any = np.int64(3)
    assert TournamentSelection(size)(POPULATION, np.random.default_rng(0)) in POPULATION
    assert Truncation(np.float64(0.25))(POPULATION, np.random.default_rng(0)) in "AB"


@given(st.integers(1, 300), st.integers(1, 12), st.integers(0, 2**32))
def test_a_tournament_draws_what_numpy_draws_without_replacement(
    n: int, size: int, seed: int
) -> None:
    """Studies of earlier releases were drawn so, and what a generator gives next depends on it."""
    size = min(size, n)
    ours, numpys = np.random.default_rng(seed), np.random.default_rng(seed)
    for _ in range(3):
        winner = TournamentSelection(size)(range(n), ours)
        assert winner == numpys.choice(n, size, replace=False, shuffle=False).min()
    assert ours.random() == numpys.random()
