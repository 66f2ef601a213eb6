"""What operators return is checked: an error names the operator, the variable and the rule."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from epbt_optuna.evolution import EPBT, PBT
from epbt_optuna.genome import Genome
from epbt_optuna.operators import (
    GaussianMutation,
    PerturbOrResample,
    TournamentSelection,
    UniformCrossover,
)
from epbt_optuna.operators.checked import crossed, exploited, mutated, selected
from epbt_optuna.testing import genomes, seeds

SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(0, 1),
    "step": FloatDistribution(0, 1, step=0.25),
    "n": IntDistribution(0, 10, step=2),
    "c": CategoricalDistribution(["a", True, None]),
}
PARENT = Genome({"x": 0.5, "step": 0.5, "n": 4, "c": "a"}, SPACE)
RNG = np.random.default_rng(0)


def returning(genome: Any) -> Callable[..., Any]:
    def operator(*_: object) -> Any:
        return genome

    return operator


def with_(**values: Any) -> Genome:
    return Genome({**PARENT.params, **values}, SPACE)


RIGHT = [
    {"x": 1.0},
    {"x": 0},
    {"step": 0.75},
    {"step": 0.75 + 1e-12},
    {"n": 10},
    {"c": True},
    {"c": None},
]
WRONG = [  # NumPy 1 prints its scalars as Python's, 2 with their type
    ({"x": 1.5}, r"x=1\.5, which must be inside FloatDistribution\("),
    ({"x": math.nan}, r"x=nan, which must be inside FloatDistribution\("),
    ({"x": None}, r"x=None, which must be inside FloatDistribution\("),
    ({"x": "0.5"}, r"x='0\.5', which must be inside FloatDistribution\("),
    ({"x": True}, r"x=True, which must be inside FloatDistribution\("),
    ({"x": np.float64(0.25)}, r"x=.*0\.25.*, which must be a plain Python value.* numpy\.float64"),
    ({"x": np.float32(0.25)}, r"x=.*0\.25.*, which must be a plain Python value.* numpy\.float32"),
    ({"step": 0.6}, r"step=0\.6, which must be inside FloatDistribution\(.*step=0\.25"),
    ({"n": 12}, r"n=12, which must be inside IntDistribution\("),
    ({"n": 5}, r"n=5, which must be inside IntDistribution\("),
    ({"n": 4.0}, r"n=4\.0, which must be a plain Python value.* of type builtins\.float"),
    ({"n": np.int64(6)}, r"n=.*6.*, which must be a plain Python value.* numpy\.int64"),
    ({"c": "b"}, r"c='b', which must be inside CategoricalDistribution\("),
    ({"c": 1}, r"c=1, which must be inside CategoricalDistribution\("),
    ({"c": np.str_("a")}, r"c=.*'a'.*, which must be a plain Python value.* numpy\.str_"),
]


def apply_as(kind: str, operator: Any) -> Genome:
    if kind == "mutation":
        return mutated(operator, PARENT, RNG)
    return crossed(operator, PARENT, PARENT, RNG)


both_kinds = pytest.mark.parametrize("kind", ["mutation", "crossover"])


@both_kinds
@pytest.mark.parametrize("values", RIGHT, ids=str)
def test_a_genome_inside_its_distributions_passes(kind: str, values: dict[str, Any]) -> None:
    result = apply_as(kind, returning(with_(**values)))
    assert result.params == {**PARENT.params, **values}
    assert result.distributions == SPACE
    assert type(result.params["x"]) is float


@both_kinds
@pytest.mark.parametrize(("values", "message"), WRONG, ids=str)
def test_a_wrong_value_is_an_error_that_names_operator_variable_value_and_rule(
    kind: str, values: dict[str, Any], message: str
) -> None:
    name = re.escape("returning.<locals>.operator")
    with pytest.raises(ValueError, match=f"^{name}, a {kind}, returned {message}"):
        apply_as(kind, returning(with_(**values)))


@both_kinds
@pytest.mark.parametrize("result", [None, {"x": 0.5}, (PARENT, PARENT), PARENT.params])
def test_what_is_no_genome_is_an_error_that_names_the_operator(kind: str, result: Any) -> None:
    message = f"operator, a {kind}, must return a Genome but returned {re.escape(repr(result))}."
    with pytest.raises(TypeError, match=message):
        apply_as(kind, returning(result))


@both_kinds
@pytest.mark.parametrize("names", [["x"], [], ["x", "step", "n", "c", "more"]])
def test_other_variables_are_an_error_that_names_both_sets(kind: str, names: list[str]) -> None:
    result = Genome(dict.fromkeys(names, 0.5), dict.fromkeys(names, SPACE["x"]))
    message = rf"must return the variables \['c', 'n', 'step', 'x'\] but returned {sorted(names)}"
    with pytest.raises(ValueError, match=re.escape(message).replace(r"\\", "")):
        apply_as(kind, returning(result))


def test_distributions_of_the_operators_own_are_not_believed() -> None:
    wide = {**SPACE, "x": FloatDistribution(0, 100)}
    with pytest.raises(ValueError, match=r"x=50.0, which must be inside FloatDistribution\(high=1"):
        mutated(returning(Genome({**PARENT.params, "x": 50.0}, wide)), PARENT, RNG)
    assert mutated(returning(Genome(PARENT.params, wide)), PARENT, RNG).distributions == SPACE


def test_values_that_a_parent_or_mate_has_pass_wherever_they_lie() -> None:
    far = Genome({"x": 7.0, "step": 0.3, "n": 5, "c": "z"}, SPACE)
    farther = Genome({"x": 9.0, "step": 0.3, "n": 5, "c": "y"}, SPACE)
    assert mutated(returning(far), far, RNG) == far
    assert mutated(GaussianMutation(0.0, 0.0), far, RNG) == far
    assert mutated(PerturbOrResample(1.0, 0.0), far, RNG) == far
    mixed = Genome({**far.params, "x": 9.0, "c": "y"}, SPACE)
    assert crossed(returning(mixed), far, farther, RNG) == mixed
    with pytest.raises(ValueError, match=r"x=8\.0"):
        crossed(returning(Genome({**far.params, "x": 8.0}, SPACE)), far, farther, RNG)


@pytest.mark.parametrize("mutation", [GaussianMutation(0.0, 0.0), PerturbOrResample(1.0, 0.0)])
def test_an_int_that_a_user_added_for_a_float_is_handed_on_as_a_float(mutation: Any) -> None:
    offspring = mutated(mutation, with_(x=1, n=4), RNG)
    assert [type(offspring.params[name]) for name in ("x", "n")] == [float, int]


def changes_in_place(genome: Any, rng: np.random.Generator) -> Any:  # noqa: ARG001
    genome.params["x"] /= 2
    return genome


def leaves_the_range_in_place(*arguments: Any) -> Genome:
    genome: Any = arguments[0]
    genome.params["x"] += 5.0
    return genome  # type: ignore[no-any-return]


def test_a_mutation_that_changes_its_argument_leaves_the_parent_as_it_was() -> None:
    parent = Genome(dict(PARENT.params), SPACE)
    assert [mutated(changes_in_place, parent, RNG).params["x"] for _ in range(3)] == [0.25] * 3
    assert parent == PARENT


@both_kinds
def test_an_operator_that_leaves_the_range_in_place_is_found(kind: str) -> None:
    with pytest.raises(ValueError, match=r"leaves_the_range_in_place, a .* returned x=5\.5"):
        apply_as(kind, leaves_the_range_in_place)
    PARENT.params["x"] = 0.5  # type: ignore[index]  # crossover's arguments are the caller's


class Biggest:
    """A selection and an exploit that takes what it should not."""

    def __init__(self, chosen: Any) -> None:
        self.chosen = chosen

    def __call__(self, population: Sequence[Any], rng: np.random.Generator) -> Any:  # noqa: ARG002
        return self.chosen

    def exploit(self, population: Sequence[Any], member: Any, rng: np.random.Generator) -> Any:  # noqa: ARG002
        return self.chosen


@pytest.mark.parametrize("chosen", [None, 0, "outsider", np.int64(1), ["a"], ("a", "b"), []])
def test_selecting_nobody_of_the_population_is_an_error_that_names_the_selection(
    chosen: Any,
) -> None:
    message = (
        "^Biggest, a selection, must return one of the 2 individuals that it was given but "
        f"returned {re.escape(repr(chosen))}.$"
    )
    with pytest.raises(ValueError, match=message):
        selected(Biggest(chosen), ("a", "b"), RNG)
    with pytest.raises(ValueError, match=message):
        exploited(Biggest(chosen), ("a", "b"), "a", RNG)


def test_the_position_of_the_selected_one_is_returned_also_among_equals() -> None:
    first, second = [1], [1]
    assert selected(Biggest(second), (first, second), RNG) == 1
    assert exploited(Biggest(second), (first, second), None, RNG) is second


@given(genomes(), genomes(), seeds())
def test_operators_of_the_library_are_never_refused(
    parent: Genome, other: Genome, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    for mutation in (GaussianMutation(), PerturbOrResample()):
        mutated(mutation.__call__, parent, rng)  # as a function of a user's: it is looked at
    mate = Genome(
        {**parent.params, **other.params}, {**parent.distributions, **other.distributions}
    )
    crossed(UniformCrossover(), parent, mate, rng)


# Before anything is bred


def takes_one(genome: Genome) -> Genome:
    return genome


def takes_two(first: Any, second: Any) -> Any:
    return first, second


def takes_three(parent: Any, mate: Any, rng: Any) -> Any:
    return parent, mate, rng


GOOD: dict[str, Any] = {
    "selection": TournamentSelection(),
    "mutation": GaussianMutation(),
    "crossover": UniformCrossover(),
}


@pytest.mark.parametrize(
    ("given_as", "message"),
    [
        ({"mutation": GaussianMutation}, "`mutation` must be called with (genome, rng) but got the "
         "class GaussianMutation in place of an instance: write GaussianMutation()."),
        ({"crossover": UniformCrossover}, "`crossover` must be called with (parent, mate, rng) but "
         "got the class UniformCrossover in place of an instance: write UniformCrossover()."),
        ({"selection": TournamentSelection}, "`selection` must be called with (population, rng) "
         "but got the class TournamentSelection in place of an instance: write "
         "TournamentSelection()."),
        ({"mutation": None}, "`mutation` must be called with (genome, rng) but got None, which is "
         "not callable."),
        ({"crossover": 0.5}, "`crossover` must be called with (parent, mate, rng) but got 0.5, "
         "which is not callable."),
        ({"mutation": takes_one}, "`mutation` must be called with (genome, rng) but got "
         "takes_one(genome: 'Genome') -> 'Genome'."),
        ({"mutation": UniformCrossover()}, "`mutation` must be called with (genome, rng) but got "
         "UniformCrossover(parent: 'Genome', mate: 'Genome', rng: 'np.random.Generator') -> "
         "'Genome'."),
        ({"crossover": GaussianMutation()}, "`crossover` must be called with (parent, mate, rng) "
         "but got GaussianMutation(genome: 'Genome', rng: 'np.random.Generator') -> 'Genome'."),
        ({"selection": partial(takes_three, mate=0, rng=0)}, "`selection` must be called with "
         "(population, rng) but got takes_three(parent: 'Any', *, mate: 'Any' = 0, rng: 'Any' = 0) "
         "-> 'Any'."),
    ],
)  # fmt: skip
def test_what_cannot_be_called_as_an_operator_is_refused_by_its_name(
    given_as: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        EPBT(4, **{**GOOD, **given_as})


def test_what_can_be_called_as_an_operator_is_taken() -> None:
    has_no_signature: Any = min
    selection: Any = takes_two
    EPBT(4, selection, lambda *_: PARENT, takes_three)
    EPBT(4, has_no_signature, GaussianMutation(), UniformCrossover())


def test_pbts_explore_is_checked_too() -> None:
    explore: Any = takes_three
    with pytest.raises(TypeError, match="`explore` must be called with"):
        PBT(4, Biggest(None), explore)
