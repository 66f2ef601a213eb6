"""Genomes, and how one variable of each kind of distribution is drawn, clipped and moved."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from epbt_optuna.genome import (
    Genome,
    NumericalDistribution,
    clip,
    contains,
    draw,
    move,
    spread,
)
from epbt_optuna.testing import distributions, seeds

N_DRAWS = 20_000


def draw_many(distribution: BaseDistribution, seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [draw(distribution, rng) for _ in range(N_DRAWS)]


def assert_frequencies(values: list[Any], expected_shares: dict[Any, float]) -> None:
    """Pearson's chi-square, five standard deviations above its mean at most."""
    assert set(values) <= set(expected_shares)
    counts = np.array([values.count(value) for value in expected_shares])
    expected = len(values) * np.array(list(expected_shares.values()))
    freedom = len(expected_shares) - 1
    assert ((counts - expected) ** 2 / expected).sum() < freedom + 5 * math.sqrt(2 * freedom)


def same_share(values: list[Any]) -> dict[Any, float]:
    return {value: 1 / len(values) for value in values}


class NewDistribution(BaseDistribution):
    """A kind of distribution that Optuna does not have."""

    def to_external_repr(self, param_value_in_internal_repr: float) -> Any:
        return param_value_in_internal_repr

    def to_internal_repr(self, param_value_in_external_repr: Any) -> float:
        return float(param_value_in_external_repr)

    def single(self) -> bool:
        return False

    def _contains(self, param_value_in_internal_repr: float) -> bool:
        return not math.isnan(param_value_in_internal_repr)


# Genome


def test_a_genome_refuses_params_without_a_distribution() -> None:
    with pytest.raises(ValueError, match=r"must have the same names but differ in \['a', 'c'\]"):
        Genome({"a": 1.0, "b": 1.0}, {"b": FloatDistribution(0, 1), "c": FloatDistribution(0, 1)})


def test_a_genome_may_have_no_variables() -> None:
    assert Genome({}, {}).params == {}


def test_a_genome_cannot_be_rebound() -> None:
    genome = Genome({}, {})
    with pytest.raises(AttributeError):
        genome.params = {"x": 1}  # type: ignore[misc]


# draw


def test_categories_are_drawn_with_equal_probability() -> None:
    choices = ["a", None, True, 2.5, 3]
    assert_frequencies(draw_many(CategoricalDistribution(choices)), same_share(choices))


def test_integers_are_drawn_with_equal_probability_both_ends_included() -> None:
    assert_frequencies(draw_many(IntDistribution(-2, 4)), same_share(list(range(-2, 5))))


def test_stepped_integers_are_drawn_with_equal_probability_both_ends_included() -> None:
    assert_frequencies(draw_many(IntDistribution(-4, 8, step=3)), same_share([-4, -1, 2, 5, 8]))


def test_stepped_floats_are_drawn_with_equal_probability_both_ends_included() -> None:
    grid = [0.5, 0.75, 1.0, 1.25, 1.5]
    assert_frequencies(draw_many(FloatDistribution(0.5, 1.5, step=0.25)), same_share(grid))


def test_floats_are_drawn_uniformly_over_the_range() -> None:
    bins = [int((value + 3) / 10 * 20) for value in draw_many(FloatDistribution(-3, 7))]
    assert_frequencies(bins, same_share(list(range(20))))


def test_log_floats_are_drawn_uniformly_over_the_logarithm() -> None:
    values = draw_many(FloatDistribution(1e-5, 1e3, log=True))
    bins = [int((math.log10(value) + 5) / 8 * 20) for value in values]
    assert_frequencies(bins, same_share(list(range(20))))


def test_a_log_integer_stands_for_half_a_unit_to_each_side_of_it() -> None:
    low, high = 1, 9
    width = math.log((high + 0.5) / (low - 0.5))
    shares = {k: math.log((k + 0.5) / (k - 0.5)) / width for k in range(low, high + 1)}
    assert_frequencies(draw_many(IntDistribution(low, high, log=True)), shares)


@pytest.mark.parametrize(
    "distribution",
    [
        FloatDistribution(0.3, 0.3),
        FloatDistribution(0.3, 0.3, log=True),
        FloatDistribution(0.3, 0.3, step=0.1),
        IntDistribution(3, 3),
        IntDistribution(3, 3, log=True),
        CategoricalDistribution(["only"]),
    ],
)
def test_a_range_of_one_value_gives_that_value(distribution: BaseDistribution) -> None:
    only = draw(distribution, np.random.default_rng(0))
    assert distribution.single()
    assert only in (0.3, 3, "only")
    assert contains(distribution, only)


@given(distributions(), seeds())
def test_what_is_drawn_is_inside_by_our_rule_and_by_optunas(
    distribution: BaseDistribution, seed: int
) -> None:
    value = draw(distribution, np.random.default_rng(seed))
    assert contains(distribution, value)
    assert distribution._contains(distribution.to_internal_repr(value))


@given(distributions(), seeds())
def test_what_is_drawn_has_pythons_own_type(distribution: BaseDistribution, seed: int) -> None:
    value = draw(distribution, np.random.default_rng(seed))
    if isinstance(distribution, FloatDistribution):
        assert type(value) is float
    elif isinstance(distribution, IntDistribution):
        assert type(value) is int
    else:
        assert isinstance(distribution, CategoricalDistribution)
        assert any(value is choice for choice in distribution.choices)


@pytest.mark.parametrize(
    "distribution",
    [
        FloatDistribution(-1e300, 1e300),
        FloatDistribution(-sys.float_info.max, sys.float_info.max),
        FloatDistribution(sys.float_info.min, 1e300, log=True),
        FloatDistribution(0, 5e-324),
        FloatDistribution(0, 1e300, step=1e297),
        IntDistribution(-(2**53), 2**53),
        IntDistribution(1, 2**53, log=True),
    ],
)
def test_ranges_of_any_size_are_drawn_from_without_overflow(distribution: BaseDistribution) -> None:
    values = [draw(distribution, np.random.default_rng(seed)) for seed in range(200)]
    assert all(math.isfinite(value) for value in values)
    assert all(distribution._contains(distribution.to_internal_repr(value)) for value in values)
    assert len(set(values)) > 1


@pytest.mark.parametrize("high", [2**63 - 1, 2**64, 10**30])
def test_integers_wider_than_numpys_are_drawn_from_the_whole_range(high: int) -> None:
    values = draw_many(IntDistribution(-high, high))
    assert all(type(value) is int for value in values)
    assert -high <= min(values) < -0.9 * high
    assert 0.9 * high < max(values) <= high


@pytest.mark.parametrize(
    ("low", "high", "log"),
    [
        (0, math.inf, False),
        (-math.inf, 0, False),
        (-math.inf, math.inf, False),
        (1, math.inf, True),
    ],
)
def test_an_infinite_range_cannot_be_drawn_from(low: float, high: float, log: bool) -> None:
    with pytest.raises(ValueError, match="`distribution` must have a finite range but got Float"):
        draw(FloatDistribution(low, high, log=log), np.random.default_rng(0))


def test_a_distribution_that_is_not_optunas_cannot_be_drawn_from() -> None:
    with pytest.raises(TypeError, match="`distribution` must be one of Optuna's but got"):
        draw(NewDistribution(), np.random.default_rng(0))


# clip and contains


@pytest.mark.parametrize(
    ("distribution", "value", "clipped"),
    [
        (FloatDistribution(-1, 1), 1.5, 1.0),
        (FloatDistribution(-1, 1), -math.inf, -1.0),
        (FloatDistribution(-1, 1), 0.123, 0.123),
        (FloatDistribution(0, 10), 7, 7.0),
        (FloatDistribution(0, 10), np.float64(7.5), 7.5),
        (FloatDistribution(0, 1, step=0.25), 0.6, 0.5),
        (FloatDistribution(0, 1, step=0.25), 0.65, 0.75),
        (FloatDistribution(0, 1, step=0.25), 7, 1.0),
        (IntDistribution(1, 10), 3.6, 4),
        (IntDistribution(1, 10), -7.2, 1),
        (IntDistribution(1, 10, step=3), 5.4, 4),
        (IntDistribution(1, 10, step=3), 5.6, 7),
        (IntDistribution(1, 10, step=3), math.inf, 10),
        (IntDistribution(1, 10, log=True), 9.7, 10),
    ],
)
def test_clip_returns_the_nearest_value_of_the_distribution(
    distribution: NumericalDistribution, value: float, clipped: float
) -> None:
    result = clip(distribution, value)
    assert result == clipped
    assert type(result) is type(clipped)


@given(distributions(), seeds())
def test_clip_leaves_what_was_drawn_as_it_is(distribution: BaseDistribution, seed: int) -> None:
    value = draw(distribution, np.random.default_rng(seed))
    if isinstance(distribution, FloatDistribution | IntDistribution):
        assert clip(distribution, value) == value


@given(distributions(), st.one_of(st.floats(), st.integers(-(2**53), 2**53)))
def test_contains_agrees_with_optuna_on_any_number(
    distribution: BaseDistribution, value: float
) -> None:
    if isinstance(distribution, FloatDistribution | IntDistribution):
        assert contains(distribution, value) == distribution._contains(value)


@pytest.mark.parametrize(
    ("distribution", "value", "expected"),
    [
        (FloatDistribution(0, 1), 0.5, True),
        (FloatDistribution(0, 1), 1, True),
        (FloatDistribution(0, 1), 1.0000001, False),
        (FloatDistribution(0, 1), -0.1, False),
        (FloatDistribution(0, 1), math.nan, False),
        (FloatDistribution(0, 1), math.inf, False),
        (FloatDistribution(0, 1), "0.5", False),
        (FloatDistribution(0, 1), None, False),
        (FloatDistribution(0, 1), True, False),
        (FloatDistribution(0, 1, step=0.1), 0.3, True),
        (FloatDistribution(0, 1, step=0.1), 0.1 + 0.2, True),
        (FloatDistribution(0, 1, step=0.1), 0.35, False),
        (FloatDistribution(-0.3, 0.3, step=0.1), 0.0, True),
        (IntDistribution(0, 9, step=3), 6, True),
        (IntDistribution(0, 9, step=3), 7, False),
        (IntDistribution(0, 9), 2.5, False),
        (IntDistribution(0, 9), False, False),
        (IntDistribution(0, 10**12, step=10), 10**11 + 5, False),
        (CategoricalDistribution(["a", None]), "a", True),
        (CategoricalDistribution(["a", None]), None, True),
        (CategoricalDistribution(["a", None]), "b", False),
        (NewDistribution(), 0.5, False),
    ],
)
def test_contains_tells_values_of_the_distribution_from_others(
    distribution: BaseDistribution, value: Any, expected: bool
) -> None:
    assert contains(distribution, value) is expected


# move and spread


def test_move_on_a_continuous_range_goes_where_it_is_told_or_to_the_end() -> None:
    distribution = FloatDistribution(-1, 1)
    assert move(distribution, 0.5, 0.51, upward=True) == 0.51
    assert move(distribution, 0.5, 3.0, upward=True) == 1.0
    assert move(distribution, 0.5, 0.5, upward=True) == 0.5


@pytest.mark.parametrize(
    ("distribution", "value", "target", "upward", "moved"),
    [
        (IntDistribution(0, 10), 5, 5.2, False, 6),
        (IntDistribution(0, 10), 5, 4.8, True, 4),
        (IntDistribution(0, 10), 0, 0.0, True, 1),
        (IntDistribution(-10, 10), 0, 0.0, False, -1),
        (IntDistribution(0, 10), 10, 10.1, True, 10),
        (IntDistribution(0, 10), 0, -0.1, False, 0),
        (IntDistribution(0, 10, step=5), 5, 6.0, True, 10),
        (IntDistribution(1, 10, log=True), 2, 2.1, True, 3),
        (IntDistribution(0, 10), 5, 8.4, True, 8),
        (FloatDistribution(0, 1, step=0.25), 0.5, 0.49, True, 0.25),
        (FloatDistribution(0, 1, step=0.25), 1.0, 1.01, True, 1.0),
    ],
)
def test_move_on_a_grid_is_by_one_step_at_least_except_at_the_end(
    distribution: NumericalDistribution, value: float, target: float, upward: bool, moved: float
) -> None:
    assert move(distribution, value, target, upward=upward) == moved


def test_a_grid_value_that_a_user_wrote_with_another_rounding_moves_too() -> None:
    distribution = FloatDistribution(0, 1, step=0.1)
    assert clip(distribution, 0.3) != 0.3
    assert move(distribution, 0.3, 0.31, upward=True) == 0.4


def test_spread_is_the_width_of_the_range_or_of_its_logarithm() -> None:
    assert spread(FloatDistribution(-1, 3)) == 4
    assert spread(IntDistribution(2, 7)) == 5
    assert spread(FloatDistribution(1e-3, 1e2, log=True)) == pytest.approx(5 * math.log(10))
    assert spread(IntDistribution(1, 8, log=True)) == pytest.approx(math.log(8))
    assert math.isfinite(spread(FloatDistribution(-1.5e308, 1.5e308)))
