"""What the pruner refuses, and whose odds it hears."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pytest
from optuna.samplers import PartialFixedSampler, RandomSampler

from epbt_optuna import EPBTPruner, EPBTSampler
from epbt_optuna.evolution import PBT
from epbt_optuna.operators import PerturbOrResample
from tests.pruning.generations import experimental, founders, is_pruned, new_study

T = TypeVar("T")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: EPBTPruner(min_offspring=-0.1),
            ValueError,
            "`min_offspring` must be at least 0 but got -0.1.",
        ),
        (
            lambda: EPBTPruner(min_offspring=1.5),
            ValueError,
            "`min_offspring` must be at most 1 but got 1.5.",
        ),
        (
            lambda: EPBTPruner(min_offspring="1"),  # type: ignore[arg-type]
            TypeError,
            "`min_offspring` must be a number but got '1'.",
        ),
        (
            lambda: EPBTPruner(prune_non_finite="no"),  # type: ignore[arg-type]
            TypeError,
            "`prune_non_finite` must be True or False but got 'no'.",
        ),
        (
            lambda: EPBTPruner(n_warmup_steps=-1),
            ValueError,
            "`n_warmup_steps` must be at least 0 but got -1.",
        ),
        (
            lambda: EPBTPruner(n_min_trials=0),
            ValueError,
            "`n_min_trials` must be at least 1 but got 0.",
        ),
        (
            lambda: EPBTPruner(min_survivors=0),
            ValueError,
            "`min_survivors` must be at least 1 but got 0.",
        ),
        (
            lambda: EPBTPruner(min_survivors=2.0),  # type: ignore[arg-type]
            TypeError,
            "`min_survivors` must be an integer but got 2.0.",
        ),
        (
            lambda: EPBTPruner(sampler=RandomSampler()),
            TypeError,
            "`sampler` must be an EPBTSampler or a PBTSampler but got RandomSampler. Pass the one "
            "that breeds the population as `sampler`, or `min_offspring=0` to do without.",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name_rule_and_value(
    make: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        make()


def test_another_sampler_is_refused_at_the_first_report() -> None:
    message = "`study.sampler` must be an EPBTSampler or a PBTSampler but got RandomSampler."
    with pytest.raises(TypeError, match=f"^{re.escape(message)}"):
        is_pruned(new_study(RandomSampler(seed=0), EPBTPruner(n_warmup_steps=9)), 1.0)


@experimental
@pytest.mark.parametrize("passed_on", [False, True])
def test_a_wrapped_sampler_is_found_and_may_be_passed_on(passed_on: bool) -> None:
    sampler = EPBTSampler(20, seed=0)
    wrapped = PartialFixedSampler({"x": 1.0}, sampler)
    study = new_study(wrapped, EPBTPruner(sampler=sampler if passed_on else None))
    founders(study, 19)
    assert is_pruned(study, 0.5)


def test_a_sampler_of_other_generations_is_refused_when_the_trial_is_compared() -> None:
    study = new_study(EPBTSampler(20, seed=0), EPBTPruner(sampler=EPBTSampler(40)))
    founders(study, 19)
    with pytest.raises(ValueError, match=r"begun with a population_size of 20.* has 40"):
        is_pruned(study, 0.5)


def test_a_selection_that_does_not_say_its_odds_is_refused_at_the_first_report() -> None:
    def newest(population: Sequence[T], rng: np.random.Generator) -> T:  # noqa: ARG001
        return population[-1]

    study = new_study(EPBTSampler(4, selection=newest, seed=0))
    with pytest.raises(TypeError, match="`selection` must have a method `win_probabilities"):
        is_pruned(study, 1.0)


def test_a_selection_of_the_users_own_that_says_its_odds_is_heard() -> None:
    class Everybody:
        def __call__(self, population: Sequence[T], rng: np.random.Generator) -> T:
            return population[int(rng.integers(len(population)))]

        def win_probabilities(self, population_size: int) -> list[float]:
            return [1 / population_size] * population_size

    study = new_study(EPBTSampler(20, selection=Everybody(), seed=0))
    founders(study, 19)
    assert not is_pruned(study, 0.5)  # 10 offspring are shared by 20


def test_an_exploit_that_does_not_say_its_odds_is_refused() -> None:
    class Keep:
        def exploit(
            self,
            population: Sequence[T],
            member: T | None,
            rng: np.random.Generator,  # noqa: ARG002
        ) -> T:
            return population[0] if member is None else member

    with pytest.raises(TypeError, match="`exploit` must be a Truncation to say who can expect"):
        PBT(4, Keep(), PerturbOrResample()).expected_offspring(4, 4)
