"""Laws of genetic operators, as checks to call from a property test.

Each raises `AssertionError` with the law that is broken.

    @given(genomes(), seeds())
    def test_my_mutation_keeps_the_laws(genome, seed):
        check_mutation_laws(MyMutation(), genome, seed)
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from epbt_optuna.genome import Genome, broken_rule
from epbt_optuna.operators import Crossover, Mutation, ParentSelection

__all__ = ["check_crossover_laws", "check_mutation_laws", "check_selection_laws"]

_T = TypeVar("_T")


def check_mutation_laws(mutation: Mutation, genome: Genome, seed: int) -> Genome:
    """Check one mutation of `genome`, and return its result.

    The result has the same variables, inside their distributions and of Python's own types; the
    argument is unchanged; the same generator state gives the same result.
    """
    before = copy.deepcopy(genome)
    result = mutation(genome, np.random.default_rng(seed))
    _law(genome == before, "the genome passed in is left unchanged")
    _law_of_valid(result, genome)
    again = mutation(genome, np.random.default_rng(seed))
    _law(again.params == result.params, "the same generator state gives the same genome")
    return result


def check_crossover_laws(
    crossover: Crossover, parent: Genome, mate: Genome, seed: int, *, blends: bool = True
) -> Genome:
    """Check one crossover, and return its result.

    The same holds as for a mutation.

    Args:
        crossover: The crossover.
        parent: The genome whose variables the result has.
        mate: The other one.
        seed: Seeds the generator.
        blends: Whether it may make values that neither of the two has, as simulated binary
            crossover does. False: every variable comes from one of the two.
    """
    before = copy.deepcopy((parent, mate))
    result = crossover(parent, mate, np.random.default_rng(seed))
    _law((parent, mate) == before, "the genomes passed in are left unchanged")
    _law_of_valid(result, parent)
    for name, value in result.params.items():
        origins = (parent.params[name], mate.params.get(name, parent.params[name]))
        _law(blends or value in origins, f"{name!r} comes from the parent or the mate")
    again = crossover(parent, mate, np.random.default_rng(seed))
    _law(again.params == result.params, "the same generator state gives the same genome")
    return result


def check_selection_laws(selection: ParentSelection, population: Sequence[_T], seed: int) -> _T:
    """Check one selection from `population` (fittest first), and return its result.

    The result is a member; the population is unchanged; the same generator state gives the same
    result.
    """
    before = list(population)
    result = selection(population, np.random.default_rng(seed))
    _law(list(population) == before, "the population passed in is left unchanged")
    _law(any(result is member for member in population), "the selected is of the population")
    again = selection(population, np.random.default_rng(seed))
    _law(again is result, "the same generator state selects the same individual")
    return result


def _law_of_valid(result: Genome, model: Genome) -> None:
    _law(isinstance(result, Genome), f"the result is a Genome (it is {result!r})")
    _law(result.params.keys() == model.params.keys(), "the variables stay the same")
    for name, value in result.params.items():
        rule = broken_rule(model.distributions[name], value)
        _law(rule is None, f"{name!r} = {value!r} is {rule}")


def _law(holds: bool, law: str) -> None:
    if not holds:
        raise AssertionError(f"Law broken: {law}.")
