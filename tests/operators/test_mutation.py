"""Mutation: EPBT's Gaussian noise and PBT's explore."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from epbt_optuna.genome import Genome
from epbt_optuna.operators import GaussianMutation, Mutation, PerturbOrResample
from epbt_optuna.testing import genomes, seeds

Scale = Literal["value", "range"]

NO_RESETS = 0.0
SPACE: dict[str, BaseDistribution] = {
    "float": FloatDistribution(-10, 10),
    "log float": FloatDistribution(1e-5, 1e-1, log=True),
    "stepped float": FloatDistribution(0, 1, step=0.25),
    "int": IntDistribution(-50, 50),
    "log int": IntDistribution(1, 1000, log=True),
    "stepped int": IntDistribution(0, 100, step=5),
    "category": CategoricalDistribution(["a", "b", "c", "d"]),
}
PARAMS: dict[str, Any] = {
    "float": 3.0,
    "log float": 1e-3,
    "stepped float": 0.5,
    "int": 7,
    "log int": 30,
    "stepped int": 50,
    "category": "b",
}
GENOME = Genome(PARAMS, SPACE)


def one(distribution: BaseDistribution, value: Any) -> Genome:
    return Genome({"x": value}, {"x": distribution})


def mutate_many(mutation: Mutation, genome: Genome, n: int = 2000) -> list[Any]:
    rng = np.random.default_rng(0)
    return [mutation(genome, rng).params["x"] for _ in range(n)]


# Gaussian mutation


def test_multiplicative_noise_has_the_standard_deviation_sigma() -> None:
    genome = one(FloatDistribution(-1e6, 1e6), -200.0)
    ratios = np.array(mutate_many(GaussianMutation(0.1, NO_RESETS), genome)) / -200 - 1
    assert abs(ratios.mean()) < 5 * 0.1 / math.sqrt(len(ratios))
    assert ratios.std() == pytest.approx(0.1, rel=0.08)
    assert abs((ratios > 0.1).mean() - 0.1587) < 0.04


def test_log_variables_are_multiplied_by_a_log_normal() -> None:
    genome = one(FloatDistribution(1e-9, 1e9, log=True), 5.0)
    logs = np.log(np.array(mutate_many(GaussianMutation(0.3, NO_RESETS), genome)) / 5)
    assert abs(logs.mean()) < 5 * 0.3 / math.sqrt(len(logs))
    assert logs.std() == pytest.approx(0.3, rel=0.08)


def test_noise_in_units_of_the_range_is_added() -> None:
    genome = one(FloatDistribution(-100, 300), 50.0)
    mutation = GaussianMutation(0.02, NO_RESETS, scale="range")
    moves = np.array(mutate_many(mutation, genome)) - 50
    assert abs(moves.mean()) < 5 * 8 / math.sqrt(len(moves))
    assert moves.std() == pytest.approx(0.02 * 400, rel=0.08)


def test_noise_in_units_of_a_log_range_is_added_to_the_logarithm() -> None:
    genome = one(FloatDistribution(1e-6, 1e2, log=True), 1e-2)
    mutation = GaussianMutation(0.02, NO_RESETS, scale="range")
    moves = np.log10(mutate_many(mutation, genome)) + 2
    assert moves.std() == pytest.approx(0.02 * 8, rel=0.08)


def test_multiplicative_noise_keeps_a_float_at_zero_and_its_sign() -> None:
    mutation = GaussianMutation(0.2, NO_RESETS)
    assert set(mutate_many(mutation, one(FloatDistribution(-1, 1), 0.0), 50)) == {0.0}
    assert all(x < 0 for x in mutate_many(mutation, one(FloatDistribution(-9, 9), -1.0), 200))


def test_noise_in_units_of_the_range_crosses_zero_and_leaves_it() -> None:
    mutation = GaussianMutation(0.2, NO_RESETS, scale="range")
    for value in (0.0, 0.1):
        moved = mutate_many(mutation, one(FloatDistribution(-1, 1), value), 100)
        assert min(moved) < 0 < max(moved)


def test_an_integer_at_zero_moves_one_step_in_either_direction() -> None:
    moved = mutate_many(GaussianMutation(0.2, NO_RESETS), one(IntDistribution(-5, 5), 0), 100)
    assert set(moved) == {-1, 1}


@pytest.mark.parametrize("scale", ["value", "range"])
@pytest.mark.parametrize(
    ("distribution", "value", "step"),
    [
        (IntDistribution(0, 100), 3, 1),
        (IntDistribution(0, 100, step=10), 30, 10),
        (IntDistribution(1, 100, log=True), 2, 1),
        (FloatDistribution(0, 1, step=0.125), 0.25, 0.125),
    ],
)
def test_on_a_grid_the_smallest_noise_moves_by_one_step(
    scale: Scale, distribution: BaseDistribution, value: float, step: float
) -> None:
    mutation = GaussianMutation(1e-9, NO_RESETS, scale=scale)
    moved = mutate_many(mutation, one(distribution, value), 100)
    assert set(moved) == {value - step, value + step}


@pytest.mark.parametrize("value", [0, 10])
def test_at_the_end_of_a_grid_a_variable_moves_inward_or_stays(value: int) -> None:
    mutation = GaussianMutation(1e-9, NO_RESETS, scale="range")
    moved = mutate_many(mutation, one(IntDistribution(0, 10), value), 100)
    assert set(moved) == {value, abs(value - 1)}


def test_noise_ends_at_the_range() -> None:
    moved = mutate_many(GaussianMutation(5.0, NO_RESETS), one(FloatDistribution(-1, 2), 1.5), 300)
    assert (min(moved), max(moved)) == (-1.0, 2.0)


@pytest.mark.parametrize("mutation", [GaussianMutation(0.5, 0.0), PerturbOrResample(2.0, 0.0)])
def test_without_resets_a_category_stays(mutation: Mutation) -> None:
    distribution = CategoricalDistribution(["a", "b", "c"])
    assert set(mutate_many(mutation, one(distribution, "b"), 100)) == {"b"}


@pytest.mark.parametrize("mutation", [GaussianMutation(0.0, 1.0), PerturbOrResample(1.0, 1.0)])
def test_a_reset_draws_anew_from_everywhere_whatever_the_value_was(mutation: Mutation) -> None:
    rng = np.random.default_rng(0)
    children = [mutation(GENOME, rng).params for _ in range(4000)]
    results = {name: np.array([child[name] for child in children]) for name in PARAMS}

    def is_share(holds: npt.NDArray[np.bool_], expected: float) -> bool:
        width = 5 * math.sqrt(expected * (1 - expected) / holds.size)
        return expected - width < float(holds.mean()) < expected + width

    assert all(is_share(results["category"] == category, 0.25) for category in "abcd")
    assert all(is_share(results["stepped float"] == k / 4, 0.2) for k in range(5))
    assert is_share(results["float"] < -5, 0.25)
    assert is_share(results["log float"] < 1e-4, 0.25)
    assert is_share(results["int"] < -24, 26 / 101)
    assert is_share(results["stepped int"] < 50, 10 / 21)
    assert is_share(results["log int"] <= 31, math.log(31.5 / 0.5) / math.log(1000.5 / 0.5))


@pytest.mark.parametrize("probability", [0.0, 0.2, 0.7, 1.0])
@pytest.mark.parametrize("kind", [GaussianMutation, PerturbOrResample])
def test_every_variable_is_reset_on_its_own_with_the_probability_given(
    kind: Callable[[float, float], Mutation], probability: float
) -> None:
    names = [f"x{i}" for i in range(2)]
    distribution = FloatDistribution(0, 1)
    genome = Genome(dict.fromkeys(names, 0.5), dict.fromkeys(names, distribution))
    mutation = kind(1.0 if kind is PerturbOrResample else 0.0, probability)
    rng = np.random.default_rng(0)
    n = 4000
    resets = np.array([[mutation(genome, rng).params[x] != 0.5 for x in names] for _ in range(n)])
    width = 5 * math.sqrt(0.25 / n)
    assert abs(resets.mean(axis=0) - probability).max() <= width
    assert abs(resets.all(axis=1).mean() - probability**2) <= width


def test_zero_sigma_and_no_resets_return_the_parent_bit_for_bit() -> None:
    for scale in ("value", "range"):
        child = GaussianMutation(0.0, NO_RESETS, scale=scale)(GENOME, np.random.default_rng(0))
        assert child.params == PARAMS
        assert all(child.params[name] is PARAMS[name] for name in PARAMS)


def test_the_order_in_which_params_were_suggested_does_not_matter() -> None:
    backwards = Genome(dict(reversed(PARAMS.items())), dict(reversed(SPACE.items())))
    for mutation in (GaussianMutation(), PerturbOrResample()):
        children = [mutation(genome, np.random.default_rng(3)) for genome in (GENOME, backwards)]
        assert children[0].params == children[1].params


@given(
    low=st.floats(1e-6, 1.0),
    width=st.floats(1.0, 1e6),
    share=st.floats(0, 1),
    unit=st.floats(1e-6, 1e6),
    seed=seeds(),
    scale=st.sampled_from(["value", "range"]),
)
def test_a_log_variable_mutates_alike_in_every_unit(
    low: float, width: float, share: float, unit: float, seed: int, scale: Scale
) -> None:
    def mutated(unit: float, mutation: Mutation) -> float:
        distribution = FloatDistribution(low * unit, low * width * unit, log=True)
        value = min(max(low * width**share * unit, distribution.low), distribution.high)
        child = mutation(one(distribution, value), np.random.default_rng(seed))
        return float(child.params["x"])

    for mutation in (GaussianMutation(0.5, 0.3, scale=scale), PerturbOrResample(1.5, 0.3)):
        assert mutated(unit, mutation) == pytest.approx(unit * mutated(1.0, mutation), rel=1e-9)


# Perturb or resample


def test_explore_multiplies_or_divides_by_the_factor_with_equal_probability() -> None:
    moved = mutate_many(PerturbOrResample(1.5, 0.0), one(FloatDistribution(-100, 100), -6.0))
    assert set(moved) == {-9.0, -4.0}
    assert abs(moved.count(-9.0) / len(moved) - 0.5) < 5 * 0.5 / math.sqrt(len(moved))


def test_explore_moves_integers_to_the_nearest_grid_value_and_by_one_step_at_least() -> None:
    perturb = PerturbOrResample(1.2, 0.0)
    assert set(mutate_many(perturb, one(IntDistribution(0, 100), 50), 100)) == {60, 42}
    assert set(mutate_many(perturb, one(IntDistribution(0, 100), 1), 100)) == {0, 2}
    assert set(mutate_many(perturb, one(IntDistribution(-9, 9), -1), 100)) == {-2, 0}
    assert set(mutate_many(perturb, one(IntDistribution(1, 9, log=True), 2), 100)) == {1, 3}


def test_a_factor_of_one_without_resampling_returns_the_parent_bit_for_bit() -> None:
    child = PerturbOrResample(1.0, 0.0)(GENOME, np.random.default_rng(0))
    assert all(child.params[name] is PARAMS[name] for name in PARAMS)


def test_explore_has_no_drift() -> None:
    distribution = FloatDistribution(1e-300, 1e300)
    explore, rng, logs = PerturbOrResample(1.2, 0.0), np.random.default_rng(0), []
    for _ in range(200):
        genome = one(distribution, 1.0)
        for _ in range(50):
            genome = explore(genome, rng)
        logs.append(math.log(genome.params["x"]) / math.log(1.2))
    assert abs(np.mean(logs)) < 5 * math.sqrt(50 / 200)


# Ranges at the end of what a float can be


@pytest.mark.parametrize("scale", ["value", "range"])
@pytest.mark.parametrize(
    "distribution",
    [
        FloatDistribution(-1e300, 1e300),
        FloatDistribution(-sys.float_info.max, sys.float_info.max),
        FloatDistribution(sys.float_info.min, sys.float_info.max / 2, log=True),
        FloatDistribution(0.0, 5e-324),
        IntDistribution(-(2**53), 2**53),
        IntDistribution(1, 2**53, log=True),
    ],
)
def test_extreme_ranges_neither_overflow_nor_become_nan(
    scale: Scale, distribution: FloatDistribution | IntDistribution
) -> None:
    rng = np.random.default_rng(0)
    mutations = (
        GaussianMutation(0.2, 0.2, scale=scale),
        GaussianMutation(1e6, 0.0, scale=scale),
        PerturbOrResample(1.2, 0.2),
        PerturbOrResample(1e300, 0.0),
    )
    for mutation in mutations:
        genome = one(distribution, distribution.high)
        for _ in range(100):
            genome = mutation(genome, rng)
            assert distribution._contains(distribution.to_internal_repr(genome.params["x"]))


@pytest.mark.parametrize(("low", "high"), [(1e-300, 1e300), (1e300, 1e-300)])
def test_noise_reaches_across_the_widest_log_range(low: float, high: float) -> None:
    distribution = FloatDistribution(1e-300, 1e300, log=True)
    noise = math.copysign(0.7, high - low)
    rng: Any = SimpleNamespace(random=lambda: 0.5, standard_normal=lambda: noise)
    value = GaussianMutation(1.0, 0.0, scale="range")(one(distribution, low), rng).params["x"]
    assert math.log(value) - math.log(low) == pytest.approx(noise * math.log(1e300) * 2, rel=1e-9)


@given(genomes(), seeds())
def test_the_genome_keeps_its_distributions(genome: Genome, seed: int) -> None:
    for mutation in (GaussianMutation(), PerturbOrResample()):
        child = mutation(genome, np.random.default_rng(seed))
        assert child.distributions == genome.distributions


# Bad input


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: GaussianMutation(sigma=-0.1),
            ValueError,
            "`sigma` must be at least 0 but got -0.1.",
        ),
        (
            lambda: GaussianMutation(sigma=math.nan),
            ValueError,
            "`sigma` must be finite but got nan.",
        ),
        (
            lambda: GaussianMutation(sigma=math.inf),
            ValueError,
            "`sigma` must be finite but got inf.",
        ),
        (
            lambda: GaussianMutation(sigma="0.2"),  # type: ignore[arg-type]
            TypeError,
            "`sigma` must be a number but got '0.2'.",
        ),
        (
            lambda: GaussianMutation(sigma=True),
            TypeError,
            "`sigma` must be a number but got True.",
        ),
        (
            lambda: GaussianMutation(reset_probability=1.1),
            ValueError,
            "`reset_probability` must be in [0, 1] but got 1.1.",
        ),
        (
            lambda: GaussianMutation(reset_probability=-0.1),
            ValueError,
            "`reset_probability` must be in [0, 1] but got -0.1.",
        ),
        (
            lambda: GaussianMutation(reset_probability=math.nan),
            ValueError,
            "`reset_probability` must be finite but got nan.",
        ),
        (
            lambda: GaussianMutation(reset_probability=None),  # type: ignore[arg-type]
            TypeError,
            "`reset_probability` must be a number but got None.",
        ),
        (
            lambda: GaussianMutation(scale="log"),  # type: ignore[arg-type]
            ValueError,
            "`scale` must be 'value' or 'range' but got 'log'.",
        ),
        (
            lambda: PerturbOrResample(factor=0.8),
            ValueError,
            "`factor` must be at least 1 but got 0.8.",
        ),
        (
            lambda: PerturbOrResample(factor=math.inf),
            ValueError,
            "`factor` must be finite but got inf.",
        ),
        (
            lambda: PerturbOrResample(factor=1 + 0j),  # type: ignore[arg-type]
            TypeError,
            "`factor` must be a number but got (1+0j).",
        ),
        (
            lambda: PerturbOrResample(resample_probability=2),
            ValueError,
            "`resample_probability` must be in [0, 1] but got 2.",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name_rule_and_value(
    make: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        make()
