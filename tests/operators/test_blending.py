"""Crossover that blends numbers: simulated binary crossover."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from epbt_optuna.genome import Genome, contains
from epbt_optuna.operators import SimulatedBinaryCrossover


def children(
    distribution: BaseDistribution, own: Any, other: Any, eta: float = 2.0, n: int = 4000
) -> list[Any]:
    crossover, rng = SimulatedBinaryCrossover(eta, probability=1.0), np.random.default_rng(0)
    parent, mate = (Genome({"x": value}, {"x": distribution}) for value in (own, other))
    return [crossover(parent, mate, rng).params["x"] for _ in range(n)]


@pytest.mark.parametrize("eta", [0.0, 2.0, 20.0])
def test_half_of_the_children_lie_between_their_parents_around_the_same_mean(eta: float) -> None:
    blended = np.array(children(FloatDistribution(-1e9, 1e9), 1.0, 3.0, eta))
    within = (blended > 1) & (blended < 3)
    assert abs(within.mean() - 0.5) < 5 * 0.5 / math.sqrt(len(blended))
    assert abs((blended < 2).mean() - 0.5) < 5 * 0.5 / math.sqrt(len(blended))


def test_the_spread_of_children_has_the_distribution_of_the_paper() -> None:
    eta = 3.0
    blended = np.array(children(FloatDistribution(-1e9, 1e9), 0.0, 2.0, eta))
    beta = np.abs(blended - 1)  # half of the parents' distance is 1
    for point in (0.5, 0.9):  # P(β < b) = ½·b^(η + 1) up to 1
        expected = 0.5 * point ** (eta + 1)
        assert abs((beta < point).mean() - expected) < 5 * 0.5 / math.sqrt(len(beta))
    for point in (1.2, 2.0):  # and 1 − ½/b^(η + 1) beyond
        expected = 1 - 0.5 / point ** (eta + 1)
        assert abs((beta < point).mean() - expected) < 5 * 0.5 / math.sqrt(len(beta))


def test_a_logarithmic_variable_is_blended_in_its_logarithm() -> None:
    log = children(FloatDistribution(1e-9, 1e9, log=True), 0.01, 100.0)
    linear = children(FloatDistribution(-1e9, 1e9), math.log(0.01), math.log(100.0))
    np.testing.assert_allclose(np.log(log), np.clip(linear, math.log(1e-9), math.log(1e9)))


@pytest.mark.parametrize(
    ("distribution", "own", "other"),
    [
        (IntDistribution(0, 10), 0, 10),
        (IntDistribution(1, 1024, log=True), 2, 900),
        (FloatDistribution(0, 1, step=0.25), 0.25, 0.75),
        (FloatDistribution(-1e308, 1e308), -1e308, 1e308),
        (CategoricalDistribution(["a", "b", "c"]), "a", "c"),
    ],
)
def test_children_stay_inside_their_distribution(
    distribution: BaseDistribution, own: Any, other: Any
) -> None:
    for eta in (0.0, 2.0):
        assert all(
            contains(distribution, child) for child in children(distribution, own, other, eta, 500)
        )


def test_a_category_comes_from_either_with_equal_odds() -> None:
    taken = children(CategoricalDistribution(["a", "b", "c"]), "a", "c")
    assert set(taken) == {"a", "c"}
    assert abs(taken.count("c") / len(taken) - 0.5) < 5 * 0.5 / math.sqrt(len(taken))


def test_without_crossover_or_difference_the_offspring_is_the_parent() -> None:
    unit = FloatDistribution(0, 1)
    parent, mate = Genome({"x": 0.1}, {"x": unit}), Genome({"x": 0.9}, {"x": unit})
    rng = np.random.default_rng(0)
    assert SimulatedBinaryCrossover(probability=0.0)(parent, mate, rng) == parent
    assert SimulatedBinaryCrossover(probability=1.0)(parent, parent, rng) == parent


@pytest.mark.parametrize("mate", [{}, {"x": 7.0}])
def test_what_the_mate_lacks_or_has_outside_the_parents_distribution_stays(
    mate: dict[str, float],
) -> None:
    parent = Genome({"x": 0.1}, {"x": FloatDistribution(0, 1)})
    other = Genome(mate, {name: FloatDistribution(5, 9) for name in mate})
    crossover = SimulatedBinaryCrossover(probability=1.0)
    assert crossover(parent, other, np.random.default_rng(0)) == parent


@pytest.mark.parametrize(("eta", "probability"), [(-1, 0.5), (math.inf, 0.5), (2, 1.5)])
def test_settings_are_checked(eta: float, probability: float) -> None:
    with pytest.raises(ValueError, match=r"`(eta|probability)` must be"):
        SimulatedBinaryCrossover(eta, probability)
