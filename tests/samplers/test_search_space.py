"""A search space that is not the objective's: an error where founders fall outside, else said."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import QMCSampler, RandomSampler
from optuna.trial import TrialState

from epbt_optuna import EPBTSampler, PBTSampler, TaylorGLOLoss, parallel
from tests.samplers.studies import SPACE, both_samplers, evolve, experimental, one_float

UNIT = FloatDistribution(0, 1)


def suggesting(distribution: BaseDistribution) -> Callable[[optuna.Trial], float]:
    def objective(trial: optuna.Trial) -> float:
        match distribution:
            case FloatDistribution(low=low, high=high, log=log, step=step):
                trial.suggest_float("x", low, high, log=log, step=step)
            case IntDistribution(low=low, high=high, log=log, step=step):
                trial.suggest_int("x", low, high, log=log, step=step)
            case CategoricalDistribution(choices=choices):
                trial.suggest_categorical("x", choices)
        return float(trial.number)

    return objective


@pytest.mark.parametrize(
    ("own", "objectives"),
    [
        (FloatDistribution(5, 6), UNIT),
        (FloatDistribution(0.01, 1), FloatDistribution(0.3, 1, step=0.1)),
        (IntDistribution(11, 20), IntDistribution(0, 10)),
        (UNIT, IntDistribution(2, 3)),
        (CategoricalDistribution(["a"]), CategoricalDistribution(["b", "c"])),
        (UNIT, CategoricalDistribution(["b", "c"])),
    ],
)
@pytest.mark.parametrize("initial_sampler", [None, RandomSampler(seed=0)])
def test_a_founder_outside_of_the_objectives_range_is_an_error_that_names_both(
    own: BaseDistribution, objectives: BaseDistribution, initial_sampler: Any
) -> None:
    sampler = EPBTSampler(4, search_space={"x": own}, initial_sampler=initial_sampler, seed=0)
    study = optuna.create_study(sampler=sampler)
    message = (
        f"`search_space` has 'x' in {re.escape(str(own))}, from which founder 0 got .*, but the "
        f"objective suggests it from {re.escape(str(objectives))}, which excludes that."
    )
    with pytest.raises(ValueError, match=message):
        study.optimize(suggesting(objectives), n_trials=4)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]


@pytest.mark.parametrize(
    ("own", "objectives"),
    [
        (FloatDistribution(0, 0.1), UNIT),
        (FloatDistribution(0.1, 1), FloatDistribution(0.1, 1, log=True)),
        (FloatDistribution(0, 1, step=0.25), UNIT),
        (IntDistribution(0, 10, step=5), IntDistribution(0, 10)),
        (IntDistribution(0, 10), FloatDistribution(0, 10)),
        (CategoricalDistribution(["a"]), CategoricalDistribution(["a", "b"])),
    ],
)
@both_samplers
def test_any_other_contradiction_is_one_warning_a_study(
    sampler_class: Any, own: BaseDistribution, objectives: BaseDistribution
) -> None:
    sampler = sampler_class(4, search_space={"x": own}, seed=0)
    message = (
        f"`search_space` has 'x' in {re.escape(str(own))}, but the objective suggests it from "
        f"{re.escape(str(objectives))}: founders are drawn from the first."
    )
    for _ in range(2):
        with pytest.warns(UserWarning, match=message) as caught:
            study = evolve(sampler, 12, suggesting(objectives))
        assert len(caught) == 1
        assert {trial.distributions["x"] for trial in study.trials} == {objectives}


def test_what_is_never_suggested_is_said_once_after_generation_0() -> None:
    study = optuna.create_study(sampler=EPBTSampler(4, search_space=SPACE, seed=0))
    study.optimize(one_float, n_trials=4)
    message = r"^`search_space` has \['y', 'z'\], which the objective has suggested in no trial of"
    with pytest.warns(UserWarning, match=message) as caught:
        study.optimize(one_float, n_trials=8)
    assert len(caught) == 1


def test_what_only_some_trials_suggest_is_no_contradiction() -> None:
    def objective(trial: optuna.Trial) -> float:
        return trial.suggest_float("xyz"[trial.number % 3], 0, 1)

    evolve(EPBTSampler(4, search_space=SPACE, seed=0), 12, objective)


def test_the_objectives_own_space_is_taken_without_a_word() -> None:
    space: dict[str, BaseDistribution] = {
        "x": UNIT,
        "kind": CategoricalDistribution(["a", None, True]),
        "n": IntDistribution(1, 9, step=2),
    }

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_categorical("kind", ["a", None, True])
        return trial.suggest_float("x", 0, 1) + trial.suggest_int("n", 1, 9, step=2)

    evolve(EPBTSampler(4, search_space=space, seed=0), 12, objective)


@experimental
def test_a_quasi_random_sampler_still_draws_all_founders_together_in_worker_threads() -> None:
    sampler = EPBTSampler(
        8, initial_sampler=QMCSampler(seed=0, scramble=False), search_space=SPACE, seed=0
    )
    study = optuna.create_study(sampler=sampler)
    parallel.optimize(
        study,
        lambda trial: sum(trial.suggest_float(name, 0, 1) for name in "xyz"),
        n_generations=2,
        workers=2,
        engine="thread",
    )
    for name in "xyz":
        assert sorted(t.params[name] for t in study.trials[:8]) == [i / 8 for i in range(8)]


# Before anything trains


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"feasible": 1}, TypeError, "`feasible` must be called with (params) but got 1, which is "
         "not callable."),
        ({"feasible": dict}, TypeError, "`feasible` must be called with (params) but got the class "
         "dict in place of an instance: write dict()."),
        ({"feasible": lambda: True}, TypeError, "`feasible` must be called with (params) but got "),
        ({"feasible": lambda _, __: True}, TypeError, "`feasible` must be called with (params)"),
        ({"initial_sampler": RandomSampler}, TypeError, "`initial_sampler` must be a sampler but "
         "got the class RandomSampler in place of an instance: write RandomSampler()."),
        ({"initial_sampler": "random"}, TypeError, "`initial_sampler` must be a sampler of Optuna "
         "but got 'random'."),
        ({"initial_sampler": PBTSampler(4)}, ValueError, "`initial_sampler` must be a sampler that "
         "breeds no generations of its own but got PBTSampler."),
        ({"search_space": [UNIT]}, TypeError, "`search_space` must be a mapping of names to "
         "distributions but got ["),
        ({"search_space": {0: UNIT}}, TypeError, "`search_space` must have names for keys but has "
         "0."),
        ({"search_space": {"x": (0, 1)}}, TypeError, "`search_space` must have distributions of "
         "Optuna for values but has 'x': (0, 1)."),
        ({"search_space": {"x": FloatDistribution}}, TypeError, "`search_space` must have "
         "distributions of Optuna for values but has 'x': <class"),
        ({"search_space": TaylorGLOLoss}, TypeError, "`search_space` must be a mapping"),
    ],
)  # fmt: skip
@both_samplers
def test_what_cannot_be_an_option_is_refused_when_it_is_given(
    sampler_class: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        sampler_class(4, **options)


def few(params: Mapping[str, Any], limit: int = 3) -> bool:
    return len(params) < limit


def test_options_that_can_be_are_taken() -> None:
    EPBTSampler(4, feasible=few, search_space={}, initial_sampler=RandomSampler())
