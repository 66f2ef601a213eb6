"""Evolution: who breeds an offspring and how, for EPBT and for PBT, without a study."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pytest
from optuna.distributions import FloatDistribution

from epbt_optuna.evolution import EPBT, PBT, first_feasible
from epbt_optuna.genome import Genome
from epbt_optuna.operators import (
    Crossover,
    GaussianMutation,
    Mutation,
    PerturbOrResample,
    TournamentSelection,
    Truncation,
    UniformCrossover,
)
from epbt_optuna.population import Individual, Lineage, Population

T = TypeVar("T")

UNIT = FloatDistribution(0, 100)


def genome(x: float) -> Genome:
    return Genome({"x": x}, {"x": UNIT})


def population(*numbers: int) -> Population:
    """Individuals with these trial numbers, the fittest first."""
    return tuple(Individual(number, -float(rank)) for rank, number in enumerate(numbers))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def epbt(
    mutation: Mutation = GaussianMutation(),
    crossover: Crossover = UniformCrossover(),
    size: int = 2,
) -> EPBT:
    return EPBT(8, TournamentSelection(size), mutation, crossover)


def pbt(explore: Mutation = PerturbOrResample()) -> PBT:
    return PBT(8, Truncation(0.25), explore)


# EPBT


def test_the_mate_is_never_the_parent() -> None:
    everybody = population(3, 1, 4, 5, 9)
    lineages = [epbt().select(12, 2, everybody, rng(seed)) for seed in range(300)]
    assert {lineage.parent for lineage in lineages} == {3, 1, 4, 5}
    assert all(lineage.mate in {3, 1, 4, 5, 9} - {lineage.parent} for lineage in lineages)
    assert {(lineage.number, lineage.generation) for lineage in lineages} == {(12, 2)}


def test_parent_and_mate_are_both_chosen_by_the_tournament() -> None:
    everybody = population(3, 1, 4, 5, 9)
    lineage = epbt(size=5).select(12, 2, everybody, rng())
    assert (lineage.parent, lineage.mate) == (3, 1)


def test_the_only_individual_is_a_parent_without_a_mate() -> None:
    assert epbt().select(12, 2, population(7), rng()) == Lineage(12, 2, parent=7, mate=None)


def test_offspring_are_crossed_over_after_both_genomes_were_mutated() -> None:
    calls: list[tuple[Any, ...]] = []

    def mutate(genome: Genome, rng: np.random.Generator) -> Genome:  # noqa: ARG001
        calls.append(("mutate", genome.params["x"]))
        return Genome({"x": genome.params["x"] + 1}, genome.distributions)

    def cross(parent: Genome, mate: Genome, rng: np.random.Generator) -> Genome:  # noqa: ARG001
        calls.append(("cross", parent.params["x"], mate.params["x"]))
        return mate

    child = epbt(mutate, cross).breed(Lineage(12, 2, 3, 1), genome(10), genome(20), rng())
    assert calls == [("mutate", 10), ("mutate", 20), ("cross", 11, 21)]
    assert child.params == {"x": 21}


def test_without_a_mate_offspring_are_mutants() -> None:
    def cross(parent: Genome, mate: Genome, rng: np.random.Generator) -> Genome:
        raise NotImplementedError

    mutation = GaussianMutation()
    child = epbt(mutation, cross).breed(Lineage(12, 2, 3), genome(10), None, rng())
    assert child == mutation(genome(10), rng())


def test_without_mutation_and_crossover_the_child_is_its_parent() -> None:
    still = epbt(GaussianMutation(0.0, 0.0), UniformCrossover(0.0))
    assert still.breed(Lineage(12, 2, 3, 1), genome(10), genome(20), rng()) == genome(10)


def test_a_tournament_larger_than_the_population_is_refused() -> None:
    message = "`selection.size` must be at most `population_size` (8) but got 9."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        epbt(size=9)
    assert epbt(size=8).selection == TournamentSelection(8)


def test_a_selection_of_the_users_own_is_taken_as_it_is() -> None:
    lineage = EPBT(8, newest, GaussianMutation(), UniformCrossover()).select(
        12, 2, population(3, 1, 4), rng()
    )
    assert (lineage.parent, lineage.mate) == (4, 1)


# PBT: trial n is member n mod 8


def test_a_member_that_is_fit_enough_goes_on_with_itself() -> None:
    everybody = population(8, 9, 10, 11, 12, 13, 14, 15)
    for number in range(16, 22):
        assert pbt().select(number, 2, everybody, rng()) == Lineage(number, 2, number - 8)


@pytest.mark.parametrize("number", [22, 23])
def test_a_member_in_the_worst_quarter_takes_the_place_of_one_of_the_best_quarter(
    number: int,
) -> None:
    everybody = population(8, 9, 10, 11, 12, 13, 14, 15)
    sources = {pbt().select(number, 2, everybody, rng(seed)).parent for seed in range(50)}
    assert sources == {8, 9}


def test_a_member_that_was_lost_is_replaced_by_one_of_the_best_quarter() -> None:
    everybody = population(8, 9, 11, 12, 13, 14, 15)
    sources = {pbt().select(18, 2, everybody, rng(seed)).parent for seed in range(50)}
    assert sources == {8, 9}


def test_pbt_has_no_mates() -> None:
    assert pbt().select(23, 2, population(*range(8, 16)), rng()).mate is None


def test_a_member_that_goes_on_keeps_its_params_and_one_that_was_replaced_explores() -> None:
    explore = PerturbOrResample(1.2, 0.0)
    assert pbt(explore).breed(Lineage(18, 2, 10), genome(10), None, rng()) == genome(10)
    explored = pbt(explore).breed(Lineage(18, 2, 9), genome(10), None, rng())
    assert explored.params["x"] in (10 * 1.2, 10 / 1.2)


def test_a_member_goes_on_from_an_older_generation_when_the_last_one_was_lost_whole() -> None:
    lineage = pbt().select(26, 3, population(8, 9, 10, 11), rng())
    assert lineage.parent == 10
    assert pbt().breed(lineage, genome(10), None, rng()) == genome(10)


# Who can expect offspring


def test_offspring_of_epbt_are_expected_by_the_odds_of_its_tournaments() -> None:
    assert epbt(size=1).expected_offspring(4, 8) == [2.0] * 4
    assert epbt(size=2).expected_offspring(3, 6) == pytest.approx([4.0, 2.0, 0.0])


def test_members_of_pbt_expect_themselves_and_the_fittest_a_share_of_the_replaced() -> None:
    assert pbt().expected_offspring(8, 8) == [2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]


def test_the_fittest_of_pbt_take_the_places_of_lost_members_too() -> None:
    assert pbt().expected_offspring(4, 8) == [6.0, 1.0, 1.0, 0.0]


def newest(population: Sequence[T], rng: np.random.Generator) -> T:  # noqa: ARG001
    return population[-1]


def test_a_selection_that_does_not_say_its_odds_is_named() -> None:
    evolution = EPBT(8, newest, GaussianMutation(), UniformCrossover())
    with pytest.raises(TypeError, match="`selection` must have a method `win_probabilities"):
        evolution.expected_offspring(8, 4)


def test_an_exploit_of_the_users_own_does_not_say_its_odds() -> None:
    class Stay:
        def exploit(
            self,
            population: Sequence[T],
            member: T | None,
            rng: np.random.Generator,  # noqa: ARG002
        ) -> T:
            return population[0] if member is None else member

    with pytest.raises(TypeError, match="`exploit` must be a Truncation"):
        PBT(8, Stay(), PerturbOrResample()).expected_offspring(8, 8)


# Feasible


def counting_up(start: float = 0.0) -> Callable[[], Genome]:
    values: Iterator[Genome] = (genome(start + i) for i in range(1000))
    return lambda: next(values)


def test_without_a_predicate_the_first_genome_is_taken() -> None:
    assert first_feasible(counting_up(), None, {}) == genome(0)


def test_the_first_feasible_genome_is_taken() -> None:
    assert first_feasible(counting_up(), lambda params: params["x"] >= 7, {}) == genome(7)


def test_the_hundredth_attempt_still_counts() -> None:
    assert first_feasible(counting_up(), lambda params: params["x"] >= 99, {}) == genome(99)


def test_after_a_hundred_attempts_the_last_genome_is_taken_with_a_warning() -> None:
    seen: list[Mapping[str, Any]] = []

    def refuse(params: Mapping[str, Any]) -> bool:
        seen.append(params)
        return False

    with pytest.warns(UserWarning, match="None of 100 bred genomes was `feasible`"):
        assert first_feasible(counting_up(), refuse, {}) == genome(99)
    assert [params["x"] for params in seen] == list(range(100))


def test_the_predicate_sees_fixed_params_in_place_of_bred_ones_but_they_are_not_returned() -> None:
    seen: list[Mapping[str, Any]] = []

    def accept(params: Mapping[str, Any]) -> bool:
        seen.append(params)
        return True

    with warnings.catch_warnings():
        assert first_feasible(counting_up(), accept, {"x": 50, "y": "z"}) == genome(0)
    assert seen == [{"x": 50, "y": "z"}]
