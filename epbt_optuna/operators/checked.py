"""Operators as they are called in a study: what they return is checked, and errors name them.

A value outside of its distribution would not be an error in Optuna, which draws such a variable
anew without a word: a broken operator would be random search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from optuna.distributions import FloatDistribution

from epbt_optuna._internal.checks import name_of
from epbt_optuna.genome import Genome, broken_rule, is_plainly_inside
from epbt_optuna.operators.crossover import Crossover
from epbt_optuna.operators.mutation import GaussianMutation, Mutation, PerturbOrResample
from epbt_optuna.operators.selection import Exploit, ParentSelection

__all__ = ["crossed", "exploited", "mutated", "selected"]

_T = TypeVar("_T")

# The library's own, of which laws are tested: looking again takes a third of a mutation's time.
_KEEP_THE_RULES = (GaussianMutation, PerturbOrResample)


def selected(selection: ParentSelection, population: Sequence[_T], rng: np.random.Generator) -> int:
    """Return the position of the individual that the selection takes from `population`.

    Raises:
        ValueError: It returned something else.
    """
    return _position(population, selection, selection(population, rng))


def exploited(
    exploit: Exploit, population: Sequence[_T], member: _T | None, rng: np.random.Generator
) -> _T:
    """Return whom a member of `population` goes on as.

    Raises:
        ValueError: The exploit returned something else.
    """
    source = exploit.exploit(population, member, rng)
    return population[_position(population, exploit, source)]


def mutated(mutation: Mutation, genome: Genome, rng: np.random.Generator) -> Genome:
    """Return what the mutation makes of `genome`, which stays as it is.

    Raises:
        TypeError: That is no genome.
        ValueError: It has other variables, or a new value outside of its distribution or not of
            Python's own types.
    """
    if type(mutation) in _KEEP_THE_RULES:
        return mutation(genome, rng)
    own = Genome(dict(genome.params), genome.distributions)  # it may be changed in place
    return _checked("mutation", mutation, mutation(own, rng), genome, genome.params)


def crossed(crossover: Crossover, parent: Genome, mate: Genome, rng: np.random.Generator) -> Genome:
    """Return what the crossover makes of both; they may be changed, and are not used again.

    Raises:
        TypeError: As for `mutated`.
        ValueError: As for `mutated`.
    """
    before = dict(parent.params), dict(mate.params)
    return _checked("crossover", crossover, crossover(parent, mate, rng), parent, *before)


def _position(population: Sequence[_T], operator: object, chosen: _T) -> int:
    for position, individual in enumerate(population):  # not `index`, which goes by equality
        if individual is chosen:
            return position
    raise ValueError(
        f"{name_of(operator)}, a selection, must return one of the {len(population)} individuals "
        f"that it was given but returned {chosen!r}."
    )


def _checked(
    kind: str,
    operator: Mutation | Crossover,
    result: Any,
    model: Genome,
    *origins: Mapping[str, Any],
) -> Genome:
    """Return `result` as a genome of the model's variables, if it is one.

    Args:
        kind: What the operator is.
        operator: The operator.
        result: What it returned.
        model: A genome with the variables and distributions that it must have.
        origins: Params that it was given. A value out of them passes: a user who enqueues a
            trial may put it where he likes.
    """
    if not isinstance(result, Genome):
        raise TypeError(
            f"{name_of(operator)}, a {kind}, must return a Genome but returned {result!r}."
        )
    if result.params.keys() != model.params.keys():
        raise ValueError(
            f"{name_of(operator)}, a {kind}, must return the variables {sorted(model.params)} but "
            f"returned {sorted(result.params)}."
        )
    params = result.params
    for name, value in params.items():
        distribution = model.distributions[name]
        if is_plainly_inside(distribution, value):
            continue
        rule = broken_rule(distribution, value)
        if rule is not None and not any(_has(origin, name, value) for origin in origins):
            raise ValueError(
                f"{name_of(operator)}, a {kind}, returned {name}={value!r}, which must be {rule}."
            )
        if type(value) is int and isinstance(distribution, FloatDistribution):
            params = {**params, name: float(value)}
    is_as_it_was = params is result.params and result.distributions is model.distributions
    return result if is_as_it_was else Genome(params, model.distributions)


def _has(params: Mapping[str, Any], name: str, value: Any) -> bool:
    return name in params and type(value) is type(params[name]) and value == params[name]
