"""The library's own operators keep the laws, over every kind of distribution."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from epbt_optuna.genome import Genome, clip
from epbt_optuna.operators import (
    GaussianMutation,
    Mutation,
    ParentSelection,
    PerturbOrResample,
    TournamentSelection,
    Truncation,
    UniformCrossover,
)
from epbt_optuna.testing import (
    check_crossover_laws,
    check_mutation_laws,
    check_selection_laws,
    genomes,
    related_genomes,
    seeds,
)


def probabilities() -> st.SearchStrategy[float]:
    return st.floats(0, 1)


def scales() -> st.SearchStrategy[Literal["value", "range"]]:
    return st.sampled_from(["value", "range"])


def gaussian_mutations() -> st.SearchStrategy[GaussianMutation]:
    return st.builds(GaussianMutation, st.floats(0, 1e3), probabilities(), scale=scales())


def explores() -> st.SearchStrategy[PerturbOrResample]:
    return st.builds(PerturbOrResample, st.floats(1, 1e3), probabilities())


def mutations() -> st.SearchStrategy[Mutation]:
    return st.one_of(gaussian_mutations(), explores())


def selections() -> st.SearchStrategy[ParentSelection]:
    return st.one_of(
        st.builds(TournamentSelection, st.integers(1, 8)),
        st.builds(Truncation, st.floats(0, 0.5, exclude_min=True)),
    )


def assert_inside_by_optunas_rule(genome: Genome) -> None:
    for name, distribution in genome.distributions.items():
        assert distribution._contains(distribution.to_internal_repr(genome.params[name]))


@given(mutations(), genomes(), seeds())
def test_mutations_keep_their_laws(mutation: Mutation, genome: Genome, seed: int) -> None:
    assert_inside_by_optunas_rule(check_mutation_laws(mutation, genome, seed))


@given(probabilities(), related_genomes(), seeds())
def test_crossover_keeps_its_laws(probability: float, relatives: list[Genome], seed: int) -> None:
    parent, mate = relatives
    child = check_crossover_laws(UniformCrossover(probability), parent, mate, seed, blends=False)
    assert_inside_by_optunas_rule(child)


@given(genomes(), genomes(), seeds())
def test_crossover_keeps_its_laws_where_the_mate_has_other_ranges_steps_and_choices(
    parent: Genome, stranger: Genome, seed: int
) -> None:
    names = {
        name: other
        for name, other in zip(parent.params, stranger.params, strict=False)
        if type(parent.distributions[name]) is type(stranger.distributions[other])
    }
    mate = Genome(
        {name: stranger.params[other] for name, other in names.items()},
        {name: stranger.distributions[other] for name, other in names.items()},
    )
    child = check_crossover_laws(UniformCrossover(1.0), parent, mate, seed, blends=False)
    assert_inside_by_optunas_rule(child)


@given(selections(), st.integers(1, 12), seeds())
def test_selections_keep_their_laws(selection: ParentSelection, size: int, seed: int) -> None:
    check_selection_laws(selection, [object() for _ in range(size)], seed)


@pytest.mark.parametrize(
    "mutation",
    [
        GaussianMutation(0.0, 0.0),
        GaussianMutation(0.0, 0.0, scale="range"),
        PerturbOrResample(1.0, 0.0),
    ],
)
@given(genome=genomes(), seed=seeds())
def test_a_mutation_of_zero_strength_is_the_identity(
    mutation: Mutation, genome: Genome, seed: int
) -> None:
    child = check_mutation_laws(mutation, genome, seed)
    assert all(child.params[name] is genome.params[name] for name in genome.params)


@given(related_genomes(), seeds())
def test_a_crossover_of_zero_probability_is_the_identity(
    relatives: list[Genome], seed: int
) -> None:
    parent, mate = relatives
    child = check_crossover_laws(UniformCrossover(0.0), parent, mate, seed, blends=False)
    assert all(child.params[name] is parent.params[name] for name in parent.params)


@given(
    st.one_of(
        st.builds(GaussianMutation, st.floats(1e-6, 10), st.just(0.0), scale=scales()),
        st.builds(PerturbOrResample, st.floats(1.001, 10), st.just(0.0)),
    ),
    genomes(),
    seeds(),
)
def test_without_resets_grids_move_unless_at_their_end_and_categories_never(
    mutation: Mutation, genome: Genome, seed: int
) -> None:
    child = mutation(genome, np.random.default_rng(seed))
    for name, distribution in genome.distributions.items():
        before, after = genome.params[name], child.params[name]
        if isinstance(distribution, CategoricalDistribution):
            assert after is before
        elif isinstance(distribution, FloatDistribution | IntDistribution) and distribution.step:
            ends = (distribution.low, clip(distribution, distribution.high))
            assert after != before or before in ends
