"""An operator of the user's that breaks its protocol ends the run with its name, never silently."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from epbt_optuna import EPBTSampler, PBTSampler, ask_generation
from epbt_optuna.genome import Genome
from tests.samplers.studies import AnySampler, evolve, one_float


def shifted(genome: Genome, rng: np.random.Generator) -> Genome:  # noqa: ARG001
    return Genome({n: v + 5 for n, v in genome.params.items()}, genome.distributions)


def averaged(parent: Genome, mate: Genome, rng: np.random.Generator) -> Genome:  # noqa: ARG001
    return Genome(
        {n: 2 + (v + mate.params[n]) / 2 for n, v in parent.params.items()}, parent.distributions
    )


def ranked(population: Sequence[Any], rng: np.random.Generator) -> Any:
    return int(rng.integers(len(population)))


def shrinks(genome: Genome, rng: np.random.Generator) -> Genome:  # noqa: ARG001
    params: Any = genome.params
    params["x"] /= 2
    return genome


BROKEN = pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EPBTSampler(4, mutation=shifted), "^shifted, a mutation, returned x="),
        (lambda: EPBTSampler(4, crossover=averaged), "^averaged, a crossover, returned x="),
        (lambda: PBTSampler(4, explore=shifted), "^shifted, a mutation, returned x="),
        (lambda: EPBTSampler(4, selection=ranked), "^ranked, a selection, must return one of the"),
    ],
)


@BROKEN
def test_a_broken_operator_ends_the_run_and_leaves_no_trial_running(
    make: Callable[[], AnySampler], message: str
) -> None:
    study = optuna.create_study(sampler=make())
    with pytest.raises(ValueError, match=message):
        study.optimize(one_float, n_trials=20)
    states = [trial.state for trial in study.trials]
    assert states[:4] == [TrialState.COMPLETE] * 4
    assert states[-1] == TrialState.FAIL
    assert TrialState.RUNNING not in states


@BROKEN
def test_a_broken_operator_fails_the_generation_that_is_asked(
    make: Callable[[], AnySampler], message: str
) -> None:
    study = optuna.create_study(sampler=make())
    space = {"x": FloatDistribution(0, 1)}
    for trial in ask_generation(study, space):
        study.tell(trial, trial.params["x"])
    with pytest.raises(ValueError, match=message):
        ask_generation(study, space)
    states = [trial.state for trial in study.trials]
    assert states[:4] == [TrialState.COMPLETE] * 4
    assert TrialState.RUNNING not in states


def test_a_mutation_in_place_breeds_like_any_other_and_changes_no_parent() -> None:
    study = evolve(EPBTSampler(4, mutation=shrinks, seed=0), 16, one_float)
    again = evolve(EPBTSampler(4, mutation=shrinks, seed=0), 16, one_float)
    assert [t.params for t in study.trials] == [t.params for t in again.trials]
    assert all(trial.params["x"] == trial.value for trial in study.trials)


def test_an_enqueued_value_outside_of_its_range_is_inherited_without_an_error() -> None:
    study = optuna.create_study(sampler=EPBTSampler(2, n_elites=0, seed=0))
    for _ in range(2):
        study.enqueue_trial({"x": 7.0})
    with pytest.warns(UserWarning, match="out of range"):
        study.optimize(one_float, n_trials=2)
    study.optimize(one_float, n_trials=6)
    assert all(0 <= trial.params["x"] <= 1 for trial in study.trials[2:])
