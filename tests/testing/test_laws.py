"""The laws for users' own operators catch operators that break them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import find, given, settings
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from epbt_optuna.genome import Genome
from epbt_optuna.operators import (
    Crossover,
    GaussianMutation,
    Mutation,
    TournamentSelection,
    UniformCrossover,
)
from epbt_optuna.testing import (
    check_crossover_laws,
    check_mutation_laws,
    check_selection_laws,
    distributions,
    genomes,
    related_genomes,
    seeds,
)

T = TypeVar("T")

SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(0, 1),
    "n": IntDistribution(0, 10),
    "c": CategoricalDistribution(["a", "b"]),
}
PARENT = Genome({"x": 0.5, "n": 5, "c": "a"}, SPACE)
MATE = Genome({"x": 0.25, "n": 2, "c": "b"}, SPACE)

Change = Callable[[dict[str, Any], np.random.Generator], None]


def as_mutation(change: Change) -> Mutation:
    def mutate(genome: Genome, rng: np.random.Generator) -> Genome:
        params = dict(genome.params)
        change(params, rng)
        return Genome(params, {name: SPACE.get(name, SPACE["x"]) for name in params})

    return mutate


def as_crossover(change: Change) -> Crossover:
    def cross(parent: Genome, mate: Genome, rng: np.random.Generator) -> Genome:  # noqa: ARG001
        return as_mutation(change)(parent, rng)

    return cross


def leaves_the_range(params: dict[str, Any], rng: np.random.Generator) -> None:
    params["x"] = 1.5 + rng.random()


def leaves_the_grid(params: dict[str, Any], rng: np.random.Generator) -> None:
    params["n"] = 5 + rng.uniform(0.1, 0.9)


def makes_up_a_category(params: dict[str, Any], rng: np.random.Generator) -> None:
    params["c"] = f"d{rng.random()}"


def uses_global_randomness(params: dict[str, Any], rng: np.random.Generator) -> None:  # noqa: ARG001
    params["x"] = random.random()


def returns_a_numpy_float(params: dict[str, Any], rng: np.random.Generator) -> None:  # noqa: ARG001
    params["x"] = np.float64(params["x"])


def returns_a_numpy_integer(params: dict[str, Any], rng: np.random.Generator) -> None:  # noqa: ARG001
    params["n"] = np.int64(params["n"])


def returns_a_float_for_an_integer(params: dict[str, Any], rng: np.random.Generator) -> None:  # noqa: ARG001
    params["n"] = float(params["n"])


def returns_a_numpy_string(params: dict[str, Any], rng: np.random.Generator) -> None:  # noqa: ARG001
    params["c"] = np.str_(params["c"])


def drops_a_variable(params: dict[str, Any], rng: np.random.Generator) -> None:  # noqa: ARG001
    del params["x"]


def adds_a_variable(params: dict[str, Any], rng: np.random.Generator) -> None:  # noqa: ARG001
    params["y"] = 0.5


OF_BOTH_KINDS: list[tuple[Change, str]] = [
    (leaves_the_range, r"'x' = \S+ is inside FloatDistribution\("),
    (leaves_the_grid, r"'n' = \S+ is inside IntDistribution\("),
    (makes_up_a_category, r"'c' = \S+ is inside CategoricalDistribution\("),
    (returns_a_numpy_float, r"'x' = np.float64\(0.5\) is a plain Python value"),
    (
        returns_a_numpy_integer,
        r"'n' = np.int64\(5\) is a plain Python value: it is inside IntDistribution\(.*\), but of "
        r"type numpy.int64\.",
    ),
    (returns_a_float_for_an_integer, r"'n' = 5.0 is a plain Python value"),
    (returns_a_numpy_string, r"'c' = np.str_\('a'\) is a plain Python value"),
    (drops_a_variable, "the variables stay the same"),
    (adds_a_variable, "the variables stay the same"),
]


@pytest.mark.parametrize(
    ("change", "law"),
    [*OF_BOTH_KINDS, (uses_global_randomness, "the same generator state gives the same genome")],
)
def test_a_broken_mutation_is_told_which_law_it_breaks(change: Change, law: str) -> None:
    with pytest.raises(AssertionError, match=f"^Law broken: {law}"):
        check_mutation_laws(as_mutation(change), PARENT, 0)


@pytest.mark.parametrize(
    ("change", "law"),
    [*OF_BOTH_KINDS, (uses_global_randomness, "'x' comes from the parent or the mate")],
)
def test_a_broken_crossover_is_told_which_law_it_breaks(change: Change, law: str) -> None:
    with pytest.raises(AssertionError, match=f"^Law broken: {law}"):
        check_crossover_laws(as_crossover(change), PARENT, MATE, 0, blends=False)


def mutable(genome: Genome) -> Genome:
    return Genome(dict(genome.params), dict(genome.distributions))


def test_a_mutation_that_changes_its_argument_is_caught() -> None:
    def mutate(genome: Genome, rng: np.random.Generator) -> Genome:
        assert isinstance(genome.params, dict)
        genome.params["x"] = rng.random()
        return genome

    with pytest.raises(AssertionError, match="the genome passed in is left unchanged"):
        check_mutation_laws(mutate, mutable(PARENT), 0)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_crossover_that_changes_an_argument_is_caught(victim: int) -> None:
    def cross(parent: Genome, mate: Genome, rng: np.random.Generator) -> Genome:
        params = (parent, mate)[victim].params
        assert isinstance(params, dict)
        params["x"] = rng.random()
        return parent

    with pytest.raises(AssertionError, match="the genomes passed in are left unchanged"):
        check_crossover_laws(cross, mutable(PARENT), mutable(MATE), 0)


def test_a_crossover_that_averages_keeps_the_laws_unless_it_is_said_not_to_blend() -> None:
    def average(parent: Genome, mate: Genome, rng: np.random.Generator) -> Genome:  # noqa: ARG001
        mean = (parent.params["x"] + mate.params["x"]) / 2
        return Genome({**parent.params, "x": mean}, parent.distributions)

    assert check_crossover_laws(average, PARENT, MATE, 0).params["x"] == 0.375
    with pytest.raises(AssertionError, match="'x' comes from the parent or the mate"):
        check_crossover_laws(average, PARENT, MATE, 0, blends=False)


def test_a_crossover_with_randomness_of_its_own_is_caught() -> None:
    turns = iter([PARENT, MATE])

    def take_turns(parent: Genome, mate: Genome, rng: np.random.Generator) -> Genome:  # noqa: ARG001
        return next(turns)

    with pytest.raises(AssertionError, match="the same generator state gives the same genome"):
        check_crossover_laws(take_turns, PARENT, MATE, 0)


def selects_an_outsider(population: Sequence[T], rng: np.random.Generator) -> Any:  # noqa: ARG001
    return "outsider"


def selects_by_global_randomness(population: Sequence[T], rng: np.random.Generator) -> T:  # noqa: ARG001
    return random.choice(population)


def reverses_the_population(population: Sequence[T], rng: np.random.Generator) -> T:  # noqa: ARG001
    assert isinstance(population, list)
    population.sort(reverse=True)
    first: T = population[0]
    return first


@pytest.mark.parametrize(
    ("select", "law"),
    [
        (selects_an_outsider, "the selected is of the population"),
        (selects_by_global_randomness, "the same generator state selects the same individual"),
        (reverses_the_population, "the population passed in is left unchanged"),
    ],
)
def test_a_broken_selection_is_told_which_law_it_breaks(select: Any, law: str) -> None:
    random.seed(0)
    with pytest.raises(AssertionError, match=f"^Law broken: {law}"):
        check_selection_laws(select, list(range(100)), 0)


def test_an_equal_copy_of_a_member_is_an_outsider() -> None:
    def copy_of_the_first(population: Sequence[Any], rng: np.random.Generator) -> Any:  # noqa: ARG001
        return [*population[0]]

    with pytest.raises(AssertionError, match="the selected is of the population"):
        check_selection_laws(copy_of_the_first, [[1], [2]], 0)


def test_the_laws_return_what_the_operator_returned() -> None:
    def rng() -> np.random.Generator:
        return np.random.default_rng(7)

    mutation, crossover, selection = GaussianMutation(), UniformCrossover(), TournamentSelection()
    assert check_mutation_laws(mutation, PARENT, 7) == mutation(PARENT, rng())
    assert check_crossover_laws(crossover, PARENT, MATE, 7) == crossover(PARENT, MATE, rng())
    assert check_selection_laws(selection, "abc", 7) == selection("abc", rng())


# What the strategies generate


KINDS: dict[str, Callable[[BaseDistribution], bool]] = {
    "float": lambda d: isinstance(d, FloatDistribution) and not d.log and d.step is None,
    "log float": lambda d: isinstance(d, FloatDistribution) and d.log,
    "stepped float": lambda d: isinstance(d, FloatDistribution) and d.step is not None,
    "int": lambda d: isinstance(d, IntDistribution) and not d.log and d.step == 1,
    "stepped int": lambda d: isinstance(d, IntDistribution) and d.step > 1,
    "log int": lambda d: isinstance(d, IntDistribution) and d.log,
    "categorical": lambda d: isinstance(d, CategoricalDistribution),
    "range across zero": lambda d: isinstance(d, FloatDistribution) and d.low < 0 < d.high,
    "a single value": lambda d: d.single(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_distribution_is_generated(kind: str) -> None:
    found = find(distributions(), KINDS[kind], settings=settings(max_examples=2000, database=None))
    assert KINDS[kind](found)


@given(genomes(min_size=2, max_size=3))
def test_genomes_have_as_many_variables_as_asked_for_inside_their_range(genome: Genome) -> None:
    assert 2 <= len(genome.params) <= 3
    for name, distribution in genome.distributions.items():
        assert distribution._contains(distribution.to_internal_repr(genome.params[name]))


@given(related_genomes(n_genomes=3))
def test_related_genomes_share_their_distributions(relatives: list[Genome]) -> None:
    assert len(relatives) == 3
    assert all(genome.distributions == relatives[0].distributions for genome in relatives)


@given(seeds())
def test_seeds_are_good_for_numpys_generators(seed: int) -> None:
    assert np.random.default_rng(seed).random() < 1
