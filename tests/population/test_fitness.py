"""Smoothed fitness: an individual's value and, by a share, its ancestors'."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import EPBTSampler, PBTSampler
from epbt_optuna._internal.attrs import LINEAGE
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna.lineage.history import History
from epbt_optuna.population import Generations, Lineage, PopulationHistory, SmoothedFitness
from tests.constraints import set_constraint
from tests.replay import Rules, smoothed_values

MAXIMIZE, MINIMIZE = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE

Descent = tuple[float | None, int | None]
"""A trial's value, None if it is pruned, and its parent."""


def study_of(
    *descents: Descent, generations: Generations, direction: Any = MAXIMIZE
) -> optuna.Study:
    """A study of trials with these values and parents."""
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(direction=direction, sampler=sampler)
    token = StudyIdentity.drawn(study, 0).own[0]
    generations.record(study)
    for number, (value, parent) in enumerate(descents):
        trial = study.ask()
        lineage = Lineage(number, generations.of(number), parent)
        LINEAGE.write_to_trial(study, trial, lineage.record(token))
        study.tell(trial, value, state=TrialState.PRUNED if value is None else None)
    return study


def fitness_by_number(study: optuna.Study, generations: Generations) -> dict[int, float]:
    history, last = PopulationHistory(generations), generations.of(len(study.trials))
    return {i.number: i.fitness for g in range(last + 1) for i in history.population(study, g)}


def test_the_parent_counts_with_its_share_and_the_grandparent_with_its_square() -> None:
    generations = Generations(1, 0, fitness_smoothing=0.25)
    study = study_of((8.0, None), (4.0, 0), (2.0, 1), generations=generations)
    assert fitness_by_number(study, generations) == {
        0: 8.0,
        1: 0.75 * 4 + 0.25 * 8,
        2: 0.75 * 2 + 0.25 * (0.75 * 4 + 0.25 * 8),
    }


@pytest.mark.parametrize("lucky", [math.inf, -math.inf])
def test_where_either_is_not_finite_the_value_counts_alone(lucky: float) -> None:
    generations = Generations(1, 0, fitness_smoothing=0.5)
    study = study_of((lucky, None), (4.0, 0), (lucky, 1), (2.0, 2), generations=generations)
    assert fitness_by_number(study, generations) == {0: lucky, 1: 4.0, 2: lucky, 3: 2.0}


def test_without_smoothing_fitness_is_the_value() -> None:
    generations = Generations(1, 0)
    study = study_of((8.0, None), (4.0, 0), generations=generations)
    assert fitness_by_number(study, generations) == {0: 8.0, 1: 4.0}


@st.composite
def descents(draw: st.DrawFn) -> list[Descent]:
    """Draw trials of generations of three, of whom each has a parent of an earlier one or none."""
    values = st.floats(-9, 9) | st.sampled_from([math.inf, -math.inf, 0.0, None])
    trials: list[Descent] = []
    for number in range(draw(st.integers(1, 15))):
        older = [n for n in range(number - number % 3) if trials[n][0] is not None]
        parents = st.sampled_from(older) | st.none() if older else st.none()
        trials.append((draw(values), draw(parents)))
    return trials


@given(
    descents(),
    st.sampled_from([0.0, 0.3, 0.5, 0.99]),
    st.sampled_from([MAXIMIZE, MINIMIZE]),
    st.data(),
)
def test_every_reader_comes_to_the_smoothed_values_of_the_naive_replay_in_whichever_order(
    trials: list[Descent], smoothing: float, direction: StudyDirection, data: st.DataObject
) -> None:
    generations = Generations(3, 0, fitness_smoothing=smoothing)
    study = study_of(*trials, generations=generations, direction=direction)
    rules = Rules(3, 0, direction, fitness_smoothing=smoothing)
    sign = 1 if direction == MAXIMIZE else -1
    wanted = {n: sign * value for n, value in smoothed_values(study.trials, rules).items()}
    assert fitness_by_number(study, generations) == wanted
    populations = History.of(study).populations
    assert {i.number: i.fitness for alive in populations for i in alive} == wanted
    alone = SmoothedFitness(smoothing, direction, StudyIdentity.of(study), study.trials.__getitem__)
    for number in data.draw(st.permutations(sorted(wanted))):
        assert alone.individual(study.trials[number]).fitness == wanted[number]


def test_an_ancestor_is_read_once_however_long_the_ancestry() -> None:
    generations = Generations(1, 0, fitness_smoothing=0.5)
    trials = study_of(
        *[(1.0, n - 1 if n else None) for n in range(200)], generations=generations
    ).trials
    reads: list[int] = []

    def read(number: int) -> FrozenTrial:
        reads.append(number)
        return trials[number]

    study = study_of((1.0, None), generations=generations)
    fitness = SmoothedFitness(0.5, MAXIMIZE, StudyIdentity.of(study), read)
    token = StudyIdentity.of(study).own[0]
    for trial in trials:  # as if this study's
        trial.system_attrs["epbt:lineage"]["token"] = token
    for trial in reversed(trials):
        fitness.individual(trial)
    assert sorted(reads) == list(range(199))


def test_a_parent_that_completed_since_its_generation_was_read_counts() -> None:
    generations = Generations(1, 0, fitness_smoothing=0.5)
    study = study_of(generations=generations)
    parent, history = study.ask(), PopulationHistory(generations)
    read_generation = history._read_finished

    def end_meanwhile(study: optuna.Study, generation: int) -> bool:
        changed = read_generation(study, generation)
        if generation == 0:
            study.tell(parent, 8.0)
            child, token = study.ask(), StudyIdentity.of(study).own[0]
            LINEAGE.write_to_trial(study, child, Lineage(1, 1, 0).record(token))
            study.tell(child, 4.0)
        return changed

    history._read_finished = end_meanwhile  # type: ignore[method-assign]
    assert [i.fitness for i in history.population(study, 1)] == [6.0]


def test_a_lineage_of_another_study_or_one_that_cannot_be_read_is_a_founders(
    caplog: pytest.LogCaptureFixture,
) -> None:
    generations = Generations(1, 0, fitness_smoothing=0.5)
    study = study_of((8.0, None), generations=generations)
    for record in ({"parent": 0}, {"generation": 2, "parent": 0, "mate": None, "token": "other"}):
        trial = study.ask()
        study._storage.set_trial_system_attr(trial._trial_id, LINEAGE.key, record)
        study.tell(trial, 4.0)
    assert fitness_by_number(study, generations) == {0: 8.0, 1: 4.0, 2: 4.0}
    assert "`generation` is missing" in caplog.text


# The winner


def told(
    sampler: EPBTSampler | PBTSampler, *values: float, direction: Any = "maximize"
) -> optuna.Study:
    study = optuna.create_study(direction=direction, sampler=sampler)
    for value in values:
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        study.tell(trial, value)
    return study


def least_fit(population: Sequence[Any], rng: np.random.Generator) -> Any:  # noqa: ARG001
    return population[-1]


@pytest.mark.parametrize(("direction", "sign"), [("maximize", 1), ("minimize", -1)])
def test_one_lucky_evaluation_of_a_poor_line_does_not_crown(direction: str, sign: float) -> None:
    sampler = EPBTSampler(
        2, n_elites=1, selection=least_fit, train_elites=True, fitness_smoothing=0.5, seed=0
    )
    # Trial 2 continues trial 1, and trial 3 is trial 0's offspring.
    study = told(sampler, 0.0, sign * 5.0, sign * 5.0, sign * 9.0, direction=direction)
    assert study.best_trial.number == 3
    assert sampler.fittest(study).number == 2
    assert [t.number for t in sampler.get_population(study, 1)] == [2, 3]
    study.ask()
    assert study.trials[4].system_attrs["epbt:lineage"]["parent"] == 2


@pytest.mark.parametrize(("direction", "best"), [("maximize", 2), ("minimize", 1)])
@pytest.mark.parametrize("make", [EPBTSampler, PBTSampler])
def test_without_smoothing_the_fittest_is_the_best_trial(
    make: Any, direction: str, best: int
) -> None:
    sampler = make(2, seed=0)
    study = told(sampler, 3.0, 1.0, 9.0, 5.0, direction=direction)
    assert sampler.fittest(study) == study.best_trial == study.trials[best]


def test_of_equals_the_newest_is_the_fittest() -> None:
    sampler = EPBTSampler(2, n_elites=0, seed=0)
    assert sampler.fittest(told(sampler, 3.0, 9.0, 9.0, 1.0, 2.0)).number == 2


def test_feasible_comes_before_fit_and_then_the_smaller_violation() -> None:
    sampler = EPBTSampler(2, fitness_smoothing=0.5, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    fittest = []
    for value, violation in [(9.0, 2.0), (1.0, 1.0), (8.0, 1.5), (0.0, 0.0), (7.0, 3.0)]:
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        set_constraint(trial, "c", violation)
        study.tell(trial, value)
        fittest.append(sampler.fittest(study).number)
    assert fittest == [0, 1, 1, 3, 3]


def test_a_study_without_a_complete_trial_has_no_fittest_and_says_so() -> None:
    sampler = EPBTSampler(2, seed=0)
    study = optuna.create_study(study_name="young", direction="maximize", sampler=sampler)
    message = "^Study 'young' has no fittest trial: none of its trials is COMPLETE.$"
    with pytest.raises(ValueError, match=message):
        sampler.fittest(study)
    study.tell(study.ask(), state=TrialState.PRUNED)
    study.ask()
    with pytest.raises(ValueError, match=message):
        sampler.fittest(study)


def test_a_sampler_of_other_settings_names_no_winner() -> None:
    study = told(EPBTSampler(4, fitness_smoothing=0.5, seed=0), 1.0)
    with pytest.raises(ValueError, match=r"fitness_smoothing=0.5.* but the sampler has .*=0\."):
        EPBTSampler(4, seed=0).fittest(study)


def test_the_winner_is_found_in_another_process_with_what_the_study_records() -> None:
    sampler = EPBTSampler(3, train_elites=True, fitness_smoothing=0.5, seed=0)
    study = told(sampler, 1.0, 2.0, 3.0)
    other = optuna.load_study(study_name=study.study_name, storage=study._storage)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for value in (9.0, 2.0, 4.0):
            study.tell(study.ask(), value)
        fresh = EPBTSampler(3, train_elites=True, fitness_smoothing=0.5)
        assert fresh.fittest(other).number == sampler.fittest(study).number
