"""Paired tests are Student's, and losses in the two-class view are the library's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from epbt_optuna import TaylorGLOLoss, cross_entropy_like
from examples.paper import ExperimentError
from examples.paper.shapes import position_of_minimum, slope_at_certainty, two_class_loss
from examples.paper.statistics import compare, summarise

RNG = np.random.default_rng(0)
THETAS = RNG.uniform(-10, 10, (20, 8))


def params_of(theta: np.ndarray) -> dict[str, float]:
    return {f"theta_{i}": float(number) for i, number in enumerate(theta)}


def test_a_comparison_is_scipys_paired_t_test() -> None:
    ours, theirs = RNG.normal(1, 1, 6), RNG.normal(0, 1, 6)
    found = compare(dict(enumerate(ours)), dict(enumerate(theirs)))
    expected = stats.ttest_rel(ours, theirs)
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.difference == pytest.approx(float(np.mean(ours - theirs)))


def test_only_seeds_that_both_have_are_compared() -> None:
    found = compare({0: 1.0, 1: 2.0, 2: 100.0}, {0: 0.0, 1: 0.5, 3: -100.0})
    assert (found.n, found.difference) == (2, 1.25)


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [((1.0, 1.1, 0.9), "wins"), ((-1.0, -1.1, -0.9), "loses"), ((1.0, -1.0, 0.1), "ties"),
     ((0.0, 0.0, 0.0), "ties"), ((0.5, 0.5, 0.5), "wins"), ((0.3, 0.1 + 0.2, 0.3), "wins")],
)  # fmt: skip
def test_a_win_is_an_interval_that_leaves_out_zero(
    differences: tuple[float, ...], verdict: str
) -> None:
    zeros = dict.fromkeys(range(3), 0.0)
    found = compare(dict(enumerate(differences)), zeros)
    assert found.verdict == verdict
    assert (found.p < 0.05) == (verdict != "ties")


def test_a_test_of_one_pair_says_who_has_too_few_seeds() -> None:
    with pytest.raises(ExperimentError, match=r"A and B share 1 seed\(s\).*at least 2"):
        compare({0: 1.0, 1: 1.0}, {0: 2.0, 5: 1.0}, "A and B")


def test_one_value_has_no_standard_deviation() -> None:
    assert math.isnan(summarise([3.0]).sd)


@pytest.mark.parametrize("theta", THETAS, ids=str)
def test_the_two_class_loss_is_equation_1_and_its_slope_and_minimum_are_right(
    theta: np.ndarray,
) -> None:
    params = params_of(theta)
    loss = two_class_loss(params)
    y = np.linspace(0.001, 0.999, 999)
    logits = torch.tensor(np.log(np.stack([y, 1 - y], 1)))
    module = TaylorGLOLoss(torch.tensor(theta), reduction="none")
    expected = module(logits, torch.zeros(len(y), dtype=torch.long)).numpy()
    np.testing.assert_allclose(loss(y), expected, rtol=1e-6, atol=1e-6)
    slope = (loss(1.0) - loss(1.0 - 1e-6)) / 1e-6
    assert slope_at_certainty(params) == pytest.approx(slope, rel=1e-3, abs=1e-3)
    least = position_of_minimum(params)
    assert 0 <= least <= 1
    assert loss(least) <= min(loss(y)) + 1e-9


def test_a_stand_in_for_cross_entropy_is_least_where_the_true_class_is_certain() -> None:
    assert position_of_minimum(params_of(np.array(cross_entropy_like(2)))) == 1.0
