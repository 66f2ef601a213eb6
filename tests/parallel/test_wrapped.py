"""The barrier and the number of generations also where another sampler is around ours."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import optuna
import pytest
from optuna.samplers import BaseSampler, PartialFixedSampler
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import EPBTSampler, parallel
from epbt_optuna.population import Generations

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


class Hiding(BaseSampler):
    """A wrapper that nobody can look into."""

    def __init__(self, base: BaseSampler) -> None:
        self._hooks = {name: getattr(base, name) for name in dir(base) if name[0] != "_"}

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._hooks["before_trial"](study, trial)

    def infer_relative_search_space(self, *arguments: Any) -> Any:
        return self._hooks["infer_relative_search_space"](*arguments)

    def sample_relative(self, *arguments: Any) -> Any:
        return self._hooks["sample_relative"](*arguments)

    def sample_independent(self, *arguments: Any) -> Any:
        return self._hooks["sample_independent"](*arguments)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self._hooks["after_trial"](study, trial, state, values)


def fixed(base: BaseSampler) -> BaseSampler:
    return PartialFixedSampler({"y": 0.25}, base)


def objective(trial: optuna.Trial) -> float:
    time.sleep(0.02 * (trial.number % 3 == 1))
    return trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1)


@pytest.mark.parametrize("wrap", [fixed, Hiding])
def test_with_the_barrier_any_number_of_workers_makes_the_same_study(wrap: Any) -> None:
    studies = []
    for workers in (1, 4):
        study = optuna.create_study(sampler=wrap(EPBTSampler(6, n_elites=2, seed=0)))
        parallel.optimize(study, objective, n_trials=22, workers=workers, engine="thread")
        studies.append([(trial.params, trial.value) for trial in study.trials])
        ends = {trial.number: trial.datetime_complete for trial in study.trials}
        for trial in study.trials[6:]:
            first = Generations(6, 2).numbers(Generations(6, 2).of(trial.number)).start
            begun = trial.datetime_start
            assert begun is not None
            assert all(end is not None and end <= begun for end in map(ends.get, range(first)))
    assert studies[0] == studies[1]


def test_generations_are_counted_for_a_wrapped_sampler() -> None:
    study = optuna.create_study(sampler=fixed(EPBTSampler(6, n_elites=2, seed=0)))
    for n_trials in (10, 10, 14):
        n_generations = 2 if n_trials == 10 else 3
        parallel.optimize(study, objective, n_generations=n_generations, workers=2, engine="thread")
        assert len(study.trials) == n_trials


@pytest.mark.parametrize("make", [optuna.samplers.RandomSampler, lambda: Hiding(EPBTSampler(4))])
def test_generations_need_a_sampler_that_is_found_also_in_a_study_that_has_some(make: Any) -> None:
    study = optuna.create_study(sampler=EPBTSampler(4))
    study.optimize(objective, n_trials=2)
    study.sampler = make()
    with pytest.raises(TypeError, match="`n_generations` is for studies whose sampler is an EPBT"):
        parallel.optimize(study, objective, n_generations=2, workers=1, engine="thread")
