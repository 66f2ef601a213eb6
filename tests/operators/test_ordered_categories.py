"""Ordered categories move to a neighbour, as integers by one step; all others by resets alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from epbt_optuna import EPBTSampler, GaussianMutation, PBTSampler, PerturbOrResample
from epbt_optuna.genome import Genome
from epbt_optuna.operators import Mutation
from epbt_optuna.testing import check_mutation_laws, genomes, seeds
from tests.samplers.studies import bred, evolve, fitness_of

OPERATORS = [GaussianMutation, PerturbOrResample]
SIZES = (16, 32, 64, 128, 256)

both_operators = pytest.mark.parametrize("operator", OPERATORS)


def moving(operator: Any, strength: float, names: Any, resets: float = 0.0) -> Mutation:
    """Return a mutation of some strength, 0 being none."""
    first = strength if operator is GaussianMutation else 1 + strength
    mutation: Mutation = operator(first, resets, ordered=names)
    return mutation


def genome_of(choices: Sequence[Any], value: Any) -> Genome:
    return Genome({"size": value}, {"size": CategoricalDistribution(choices)})


def moved(operator: Any, choices: Sequence[Any], value: Any, n: int = 200) -> list[Any]:
    mutation, rng = moving(operator, 0.1, {"size"}), np.random.default_rng(0)
    return [mutation(genome_of(choices, value), rng).params["size"] for _ in range(n)]


@both_operators
@pytest.mark.parametrize(
    ("value", "neighbours"),
    [(16, {16, 32}), (32, {16, 64}), (64, {32, 128}), (128, {64, 256}), (256, {128, 256})],
)
def test_a_category_moves_to_either_neighbour_as_an_integer_by_one_step(
    operator: Any, value: int, neighbours: set[int]
) -> None:
    sizes = moved(operator, SIZES, value)
    assert set(sizes) == neighbours
    assert 60 < sizes.count(min(neighbours)) < 140
    index = SIZES.index(value)
    rng, positions = np.random.default_rng(0), IntDistribution(0, 4)
    same = Genome({"size": index}, {"size": positions})
    tiny = moving(operator, 1e-9, ())
    assert [SIZES[tiny(same, rng).params["size"]] for _ in sizes] == sizes


@both_operators
@given(data=st.data(), genome=genomes(), strength=st.floats(1e-6, 10), seed=seeds())
def test_it_keeps_the_laws_and_moves_no_further_than_to_a_neighbour(
    operator: Any, data: st.DataObject, genome: Genome, strength: float, seed: int
) -> None:
    categories = [
        name
        for name, distribution in genome.distributions.items()
        if isinstance(distribution, CategoricalDistribution)
    ]
    ordered = data.draw(st.sets(st.sampled_from(categories)) if categories else st.just(set()))
    child = check_mutation_laws(moving(operator, strength, ordered), genome, seed)
    for name in categories:
        choices = genome.distributions[name].choices  # type: ignore[attr-defined]
        distance = abs(_place(choices, child.params[name]) - _place(choices, genome.params[name]))
        assert distance <= (name in ordered)
        if name in ordered and 0 < _place(choices, genome.params[name]) < len(choices) - 1:
            assert distance == 1


@both_operators
@given(genome=genomes(), seed=seeds())
def test_at_zero_strength_nothing_moves(operator: Any, genome: Genome, seed: int) -> None:
    names = {
        name
        for name, distribution in genome.distributions.items()
        if isinstance(distribution, CategoricalDistribution)
    }
    child = check_mutation_laws(moving(operator, 0.0, names), genome, seed)
    assert all(child.params[name] is genome.params[name] for name in genome.params)


@both_operators
def test_it_is_reset_like_any_other(operator: Any) -> None:
    mutation, rng = moving(operator, 0.1, {"size"}, resets=1.0), np.random.default_rng(0)
    sizes = [mutation(genome_of(SIZES, 16), rng).params["size"] for _ in range(300)]
    assert {size: sizes.count(size) > 30 for size in SIZES} == dict.fromkeys(SIZES, True)


@both_operators
def test_where_there_is_one_category_it_stays(operator: Any) -> None:
    assert set(moved(operator, ["a"], "a", 20)) == {"a"}


@pytest.mark.filterwarnings("ignore:Choices for a categorical distribution")
@both_operators
def test_categories_may_be_of_any_kind(operator: Any) -> None:
    assert set(moved(operator, [None, "a", 2.5], "a")) == {None, 2.5}
    as_database_has_it = moved(operator, ((8,), (16, 16), (32,)), [16, 16])
    assert set(as_database_has_it) == {(8,), (32,)}


@both_operators
def test_categories_that_optuna_records_as_one_are_one(operator: Any) -> None:
    assert set(moved(operator, [0, 1, True, 2], 1)) == {0, 2}
    assert set(moved(operator, [0, 1, True, 2], 2)) == {1, 2}


@both_operators
def test_the_other_variables_are_mutated_as_without_it(operator: Any) -> None:
    space: dict[str, BaseDistribution] = {"a": FloatDistribution(0, 9), "b": IntDistribution(0, 9)}
    genome = Genome({"a": 4.0, "b": 4}, space)
    wider = Genome({**genome.params, "size": 64}, {**space, "size": CategoricalDistribution(SIZES)})
    for seed in range(20):
        alone = moving(operator, 0.2, ())(genome, np.random.default_rng(seed))
        child = moving(operator, 0.2, {"size"})(wider, np.random.default_rng(seed))
        assert alone.params.items() <= child.params.items()


@pytest.mark.parametrize(
    "sampler",
    [
        EPBTSampler(6, mutation=GaussianMutation(0.2, 0.0, ordered={"size", "depth"}), seed=3),
        PBTSampler(6, explore=PerturbOrResample(1.2, 0.0, ordered={"size", "depth"}), seed=3),
    ],
)
def test_in_a_study_some_parents_may_lack_it_as_a_conditional_variable(sampler: Any) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.suggest_categorical("size", SIZES)
        if trial.suggest_categorical("deep", [True, False]):
            trial.suggest_categorical("depth", ["two", "three", "four"])
        return fitness_of(trial.number)

    study = evolve(sampler, 40, objective)
    places = [[SIZES.index(t.params["size"]) for t in pair] for pair in bred(study)]
    assert any(child != parent for child, parent in places)
    assert {"depth" in trial.params for trial in study.trials[6:]} == {True, False}


# Bad input


@both_operators
@pytest.mark.parametrize("distribution", [FloatDistribution(0, 1), IntDistribution(0, 9, step=3)])
@pytest.mark.parametrize("resets", [0.0, 1.0])
def test_a_variable_that_is_not_categorical_is_an_error_that_names_it(
    operator: Any, distribution: BaseDistribution, resets: float
) -> None:
    mutation = moving(operator, 0.1, {"x"}, resets)
    message = f"`ordered` must name categorical variables but has 'x', which is in {distribution}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        mutation(Genome({"x": 0}, {"x": distribution}), np.random.default_rng(0))


@both_operators
@pytest.mark.parametrize(
    ("ordered", "message"),
    [
        ("size", "`ordered` must be a set of names but got a string: write {'size'}."),
        (None, "`ordered` must be a set of names but got None."),
        ({"size": SIZES}, "`ordered` must be a set of names but got {'size': "),
        ([1], "`ordered` must be a set of names but has 1."),
    ],
)
def test_what_is_no_set_of_names_is_refused(operator: Any, ordered: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(message)}"):
        operator(ordered=ordered)


@both_operators
def test_operators_are_equal_by_the_names_whatever_held_them(operator: Any) -> None:
    assert operator(ordered=["a", "b"]) == operator(ordered={"b", "a"})
    assert len({operator(ordered=["a"]), operator(ordered=("a",)), operator()}) == 2


def _place(choices: Sequence[Any], value: Any) -> int:
    distinct = [choice for i, choice in enumerate(choices) if choices.index(choice) == i]
    return distinct.index(value)
