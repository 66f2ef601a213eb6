"""Crossover: which variables come from the mate."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from epbt_optuna.genome import Genome
from epbt_optuna.operators import UniformCrossover

UNIT = FloatDistribution(0, 1)


def genome(params: dict[str, Any], distribution: BaseDistribution = UNIT) -> Genome:
    return Genome(params, dict.fromkeys(params, distribution))


def cross(parent: Genome, mate: Genome, probability: float = 1.0) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return dict(UniformCrossover(probability)(parent, mate, rng).params)


@pytest.mark.parametrize("probability", [0.0, 0.25, 0.5, 1.0])
def test_every_variable_comes_from_the_mate_on_its_own_with_the_probability_given(
    probability: float,
) -> None:
    names = [f"x{i}" for i in range(4)]
    parent, mate = genome(dict.fromkeys(names, 0.0)), genome(dict.fromkeys(names, 1.0))
    rng, crossover, n = np.random.default_rng(0), UniformCrossover(probability), 4000
    taken = np.array([list(crossover(parent, mate, rng).params.values()) for _ in range(n)])
    width = 5 * math.sqrt(0.25 / n)
    assert abs(taken.mean(axis=0) - probability).max() <= width
    assert abs((taken[:, 0] * taken[:, 1]).mean() - probability**2) <= width


def test_without_crossover_the_offspring_is_the_parent_and_at_probability_one_the_mate() -> None:
    parent, mate = genome({"a": 0.1, "b": 0.2}), genome({"a": 0.8, "b": 0.9})
    assert cross(parent, mate, 0.0) == parent.params
    assert cross(parent, mate, 1.0) == mate.params


def test_a_variable_that_the_mate_does_not_have_stays_and_one_that_only_it_has_is_not_taken() -> (
    None
):
    assert cross(genome({"a": 0.1, "b": 0.2}), genome({"b": 0.9, "c": 0.7})) == {"a": 0.1, "b": 0.9}


@pytest.mark.parametrize(
    ("distribution", "own", "other_distribution", "other"),
    [
        (FloatDistribution(0, 1), 0.5, FloatDistribution(0, 5), 3.0),
        (FloatDistribution(0, 1, step=0.5), 0.5, FloatDistribution(0, 1), 0.3),
        (IntDistribution(0, 10, step=5), 5, IntDistribution(0, 10), 7),
        (CategoricalDistribution(["a", "b"]), "a", CategoricalDistribution(["a", "c"]), "c"),
        (FloatDistribution(0, 1), 0.5, CategoricalDistribution(["a"]), "a"),
    ],
)
def test_a_mates_value_outside_the_parents_distribution_is_not_taken(
    distribution: BaseDistribution, own: Any, other_distribution: BaseDistribution, other: Any
) -> None:
    parent, mate = genome({"x": own}, distribution), genome({"x": other}, other_distribution)
    assert cross(parent, mate) == {"x": own}


def test_the_offspring_has_the_parents_distributions() -> None:
    parent, mate = genome({"x": 0.5}), genome({"x": 0.7}, FloatDistribution(0, 5))
    child = UniformCrossover(1.0)(parent, mate, np.random.default_rng(0))
    assert child.distributions == parent.distributions
    assert child.params == {"x": 0.7}


def test_what_is_swapped_depends_neither_on_the_order_nor_on_what_the_mate_has() -> None:
    names = list("abcdefgh")
    parent, mate = genome(dict.fromkeys(names, 0.0)), genome(dict.fromkeys(names, 1.0))
    backwards = genome(dict.fromkeys(reversed(names), 0.0))
    lacking = genome(dict.fromkeys(names[1:], 1.0))
    swapped = cross(parent, mate, 0.5)
    assert set(swapped.values()) == {0.0, 1.0}
    assert cross(backwards, mate, 0.5) == swapped
    assert {**cross(parent, lacking, 0.5), "a": swapped["a"]} == swapped


@pytest.mark.parametrize(
    ("probability", "error", "message"),
    [
        (-0.1, ValueError, "`probability` must be in [0, 1] but got -0.1."),
        (1.5, ValueError, "`probability` must be in [0, 1] but got 1.5."),
        (math.nan, ValueError, "`probability` must be finite but got nan."),
        (math.inf, ValueError, "`probability` must be finite but got inf."),
        (True, TypeError, "`probability` must be a number but got True."),
        ("0.5", TypeError, "`probability` must be a number but got '0.5'."),
    ],
)
def test_a_probability_that_cannot_be_is_refused_by_name_rule_and_value(
    probability: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        UniformCrossover(probability)
