"""Populations: individuals and where they come from, and who is alive as trials finish."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna.population import Generations, Individual, Lineage, PopulationHistory
from tests.replay import Rules, check_lineage

MAXIMIZE, MINIMIZE = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE


def history(population_size: int, n_elites: int) -> PopulationHistory:
    return PopulationHistory(Generations(population_size, n_elites))


def study_of(n_trials: int) -> optuna.Study:
    """A study, to be maximised, with trials that were asked and not told."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(n_trials):
        study.ask()
    return study


def numbers(population: tuple[Individual, ...]) -> list[int]:
    return [individual.number for individual in population]


# Individuals and lineages


def complete(number: int, value: float, **system_attrs: Any) -> FrozenTrial:
    trial = optuna.create_trial(
        value=value,
        params={"x": 0.5},
        distributions={"x": FloatDistribution(0, 1)},
        system_attrs=system_attrs,
    )
    trial.number = number
    return trial


@pytest.mark.parametrize(("direction", "fitness"), [(MAXIMIZE, 3.0), (MINIMIZE, -3.0)])
def test_greater_fitness_is_fitter_in_either_direction(
    direction: StudyDirection, fitness: float
) -> None:
    assert Individual.of(complete(7, 3.0), direction) == Individual(7, fitness)


def test_violations_of_constraints_are_summed_and_satisfied_ones_do_not_make_up_for_them() -> None:
    trial = complete(7, 3.0, constraints=[2.0, -5.0, 0.5, 0.0])
    assert Individual.of(trial, MAXIMIZE).violation == 2.5
    assert Individual.of(complete(7, 3.0, constraints=[-1.0]), MAXIMIZE).violation == 0


def test_feasible_goes_before_violation_before_fitness_before_age() -> None:
    from_the_fittest = [
        Individual(0, math.inf),
        Individual(1, 5.0),
        Individual(3, 1.0),
        Individual(2, 1.0),
        Individual(9, -math.inf),
        Individual(4, 7.0, violation=0.5),
        Individual(6, 7.0, violation=1.0),
        Individual(5, 7.0, violation=1.0),
        Individual(7, math.inf, violation=math.inf),
    ]
    keys = [individual.rank_key for individual in from_the_fittest]
    assert keys == sorted(keys, reverse=True)
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("lineage", [Lineage(7, 2, 3, 1), Lineage(7, 2, 3), Lineage(0, 0)])
def test_a_lineage_is_read_back_from_its_record(lineage: Lineage) -> None:
    record = lineage.record("0123456789ab")
    assert Lineage.recorded(lineage.number, {"epbt:lineage": record, "other": 1}) == lineage
    assert set(record) == {"generation", "parent", "mate", "number", "token"}


def test_an_elite_that_goes_on_training_is_recorded_as_one() -> None:
    lineage = Lineage(7, 2, 3, elite=True)
    record = lineage.record("0123456789ab")
    assert record["elite"] is True
    assert Lineage.recorded(7, {"epbt:lineage": record}) == lineage


def test_a_trial_that_nobody_bred_has_no_lineage() -> None:
    assert Lineage.recorded(7, {"other": 1}) is None


# Who is alive as trials finish


def test_before_generation_0_nobody_is_alive() -> None:
    assert history(4, 2).population(study_of(4), -1) == ()
    assert history(4, 2).parents(study_of(4), 0) == ()


def test_a_population_is_the_finished_trials_and_the_elites_the_fittest_first() -> None:
    study = study_of(8)
    for number, value in enumerate([3.0, 9.0, 1.0, 5.0, 4.0, 7.0, 8.0, 2.0]):
        study.tell(number, value)
    alive = history(4, 2)
    assert numbers(alive.population(study, 0)) == [1, 3, 0, 2]
    assert numbers(alive.population(study, 1)) == [1, 5, 3, 4]
    assert numbers(alive.population(study, 2)) == [1, 6, 5, 7]


def test_pruned_failed_running_and_waiting_trials_are_not_alive() -> None:
    study = study_of(3)
    study.enqueue_trial({"x": 1})
    study.tell(0, state=TrialState.PRUNED)
    study.tell(1, state=TrialState.FAIL)
    assert history(4, 2).population(study, 0) == ()


def test_a_population_read_too_early_is_read_again_when_its_trials_have_finished() -> None:
    study = study_of(6)
    alive = history(4, 2)
    assert alive.population(study, 1) == ()
    study.tell(4, 1.0)
    study.tell(2, 2.0)
    assert numbers(alive.population(study, 0)) == [2]
    assert numbers(alive.population(study, 1)) == [2, 4]


def test_a_straggler_of_an_old_generation_changes_every_population_after_it() -> None:
    study = study_of(8)
    for number in (0, 1, 2, 4, 5, 6, 7):
        study.tell(number, float(number))
    alive = history(4, 2)
    assert numbers(alive.population(study, 2)) == [7, 6, 5, 4]
    study.tell(3, 100.0)
    assert numbers(alive.population(study, 2)) == [3, 7, 6, 5]
    assert numbers(alive.population(study, 1)) == [3, 5, 4, 2]


def test_trials_of_a_generation_are_read_in_whichever_one_is_asked_for_first() -> None:
    study = study_of(8)
    for number in range(8):
        study.tell(number, float(number))
    forward, backward = history(4, 2), history(4, 2)
    late = [backward.population(study, g) for g in (2, 1, 0)]
    assert late == [forward.population(study, g) for g in (0, 1, 2)][::-1]


def test_a_finished_trial_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of(8)
    for number in range(8):
        study.tell(number, float(number))
    reads: list[int] = []
    get_trial = study._storage.get_trial

    def counted(trial_id: int) -> FrozenTrial:
        reads.append(trial_id)
        return get_trial(trial_id)

    monkeypatch.setattr(study._storage, "get_trial", counted)
    alive = history(4, 2)
    for _ in range(5):
        alive.population(study, 2)
        alive.parents(study, 2)
    assert sorted(reads) == list(range(8))


# Whom an offspring may have as parents, while others still run


def quiet(call: Callable[[], tuple[Individual, ...]]) -> list[int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return numbers(call())


def test_offspring_breed_from_those_who_have_finished() -> None:
    study = study_of(5)
    study.tell(3, 1.0)
    study.tell(0, 2.0)
    assert numbers(history(4, 2).parents(study, 1)) == [0, 3]


def test_when_nobody_has_finished_offspring_breed_from_the_newest_population_with_anybody() -> None:
    study = study_of(9)
    alive = history(3, 0)
    assert quiet(lambda: alive.parents(study, 3)) == []
    for number in range(3):
        study.tell(number, float(number))
    assert quiet(lambda: alive.parents(study, 3)) == [2, 1, 0]
    study.tell(4, -1.0)
    assert quiet(lambda: alive.parents(study, 3)) == [4]


def test_the_newest_population_is_the_one_asked_for_or_the_last_before_it_with_anybody() -> None:
    study = study_of(9)
    alive = history(3, 0)
    assert alive.newest(study, 2) == [()]
    study.tell(1, 1.0)
    assert numbers(*alive.newest(study, 2)) == [1]
    study.tell(8, 1.0)
    assert numbers(*alive.newest(study, 2)) == [8]
    assert [*map(numbers, alive.newest(study, 1, 0))] == [[1], [1]]


def test_fewer_than_half_of_the_parents_give_one_warning_a_study() -> None:
    study = study_of(8)
    alive = history(4, 1)
    study.tell(0, 1.0)
    message = (
        "Generation 1 breeds from 1 individuals while 3 of generation 0 still run. Use fewer "
        "workers than a generation has trials (3), or wait for each generation to finish."
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(message)}$"):
        alive.parents(study, 1)
    assert numbers(alive.parents(study, 1)) == [0]
    assert numbers(alive.parents(study, 2)) == [0]


def test_half_of_the_parents_give_no_warning() -> None:
    study = study_of(8)
    study.tell(0, 1.0)
    study.tell(1, 1.0)
    assert numbers(history(4, 2).parents(study, 1)) == [1, 0]


def test_lost_trials_are_not_waited_for() -> None:
    study = study_of(8)
    study.tell(0, 1.0)
    for number in (1, 2, 3):
        study.tell(number, state=TrialState.FAIL)
    assert numbers(history(4, 2).parents(study, 1)) == [0]


# The naive replay, which the whole suite relies on


def recorded(
    number: int, value: float, generation: int, parent: int | None, mate: int | None, **attrs: Any
) -> FrozenTrial:
    record = {"generation": generation, "parent": parent, "mate": mate}
    return complete(number, value, **{"epbt:lineage": record, **attrs})


RULES = Rules(population_size=2, n_elites=1, direction=MAXIMIZE)
GOOD = [
    recorded(0, 1.0, 0, None, None),
    recorded(1, 2.0, 0, None, None),
    recorded(2, 0.0, 1, 0, 1),
    recorded(3, 5.0, 2, 2, 1),
]


def test_the_replay_accepts_a_run_by_the_rules() -> None:
    alive = check_lineage(GOOD, RULES)
    assert [[trial.number for trial in population] for population in alive] == [
        [1, 0],
        [1, 2],
        [3, 1],
    ]


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (recorded(3, 5.0, 1, 2, 1), "generation is 2"),
        (recorded(1, 2.0, 0, 0, None), "a founder has a parent"),
        (recorded(3, 5.0, 2, None, None), "an offspring has no parent"),
        (recorded(3, 5.0, 2, 0, 1), "parent is not one of"),
        (recorded(3, 5.0, 2, 3, 1), "parent is not one of"),
        (recorded(3, 5.0, 2, 1, 0), "mate is not one of"),
        (recorded(3, 5.0, 2, 1, 1), "mate is the parent"),
        (recorded(1, 2.0, 0, None, 0), "a mate but no parent"),
    ],
)
def test_the_replay_finds_what_is_against_the_rules(bad: FrozenTrial, complaint: str) -> None:
    trials = [bad if trial.number == bad.number else trial for trial in GOOD]
    with pytest.raises(AssertionError, match=complaint):
        check_lineage(trials, RULES)


def test_with_stragglers_the_replay_lets_parents_come_from_any_earlier_generation() -> None:
    bred_from_an_old_one = recorded(3, 5.0, 2, 0, 1)
    check_lineage([*GOOD[:3], bred_from_an_old_one], RULES, stragglers=True)
    with pytest.raises(AssertionError, match="parent is not one of"):
        check_lineage([*GOOD[:3], recorded(3, 5.0, 2, 3, 1)], RULES, stragglers=True)


def test_the_replay_holds_a_retried_trial_to_the_generation_it_was_bred_in() -> None:
    retried = recorded(3, 5.0, 2, 0, 1, failed_trial=2, retry_history=[2])
    check_lineage([*GOOD[:3], retried], RULES)
    with pytest.raises(AssertionError, match="parent is not one of"):
        check_lineage([*GOOD[:3], recorded(3, 5.0, 2, 2, 1, failed_trial=2)], RULES)
