"""Elites that go on training: which trial continues whom, and what it has from there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import CheckpointStore, EPBTSampler, ask_generation, resume
from epbt_optuna.genome import Genome
from epbt_optuna.lineage import ReplaySampler, Schedule
from tests.replay import check_lineage, is_elite
from tests.samplers.studies import (
    Direction,
    eventful,
    evolve,
    experimental,
    mate_of,
    numbers,
    one_float,
    parent_of,
    plain,
    record_of,
    rules_of,
    suggest_all,
)


def trained(population_size: int = 4, n_elites: int = 2, **options: Any) -> EPBTSampler:
    options = {"seed": 0, **options}
    return EPBTSampler(population_size, n_elites=n_elites, train_elites=True, **options)


def study_of(sampler: EPBTSampler, *values: float | None) -> optuna.Study:
    """A study to be maximised, with a trial for each value; None fails."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for value in values:
        trial = study.ask()
        suggest_all(trial)
        study.tell(trial, value, state=TrialState.FAIL if value is None else None)
    return study


def continued(trials: list[FrozenTrial]) -> list[int | None]:
    """Return whom trials go on as, None for those that are no elites."""
    return [parent_of(trial) if is_elite(trial) else None for trial in trials]


def tell(study: optuna.Study, trial: optuna.Trial) -> None:
    """Tell a trial what `optimize` would."""
    try:
        value = eventful(trial)
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        failed = math.isnan(value)
        study.tell(trial, None if failed else value, state=TrialState.FAIL if failed else None)


# By the rules


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize(
    ("train_elites", "smoothing"), [(True, 0.0), (False, 0.5), (True, 0.5), (True, 0.95)]
)
def test_500_trials_with_every_mishap_are_by_the_rules(
    train_elites: bool, smoothing: float, direction: Direction
) -> None:
    sampler = EPBTSampler(10, train_elites=train_elites, fitness_smoothing=smoothing, seed=3)
    study = evolve(sampler, 500, eventful, direction=direction)
    states = {trial.state for trial in study.trials}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
    alive = check_lineage(study.trials, rules_of(sampler, study))
    for generation, population in enumerate(alive):
        assert numbers(sampler.get_population(study, generation)) == numbers(population)
    assert any(map(is_elite, study.trials)) == train_elites


def test_every_generation_has_p_trials() -> None:
    sampler = trained(7, 3)
    assert [sampler.n_trials(g) for g in (1, 2, 5)] == [7, 14, 35]
    assert [sampler.generation_of(n) for n in (0, 6, 7, 13, 14)] == [0, 0, 1, 1, 2]
    assert [*sampler.trial_numbers(2)] == [*range(14, 21)]
    assert EPBTSampler(21, n_elites=10, train_elites=True).n_trials(25) == 525


def test_the_first_k_trials_continue_the_k_fittest_in_order_of_rank() -> None:
    study = study_of(trained(5, 3), 3.0, 9.0, 1.0, 9.0, 4.0, *range(5))
    assert continued(study.trials[5:10]) == [3, 1, 4, None, None]  # of equals the newer
    study.ask()
    assert continued(study.trials[10:]) == [9]  # of generation 1 alone


def test_an_elite_has_its_parents_genome_and_no_mate() -> None:
    study = evolve(trained(6, 3), 30)
    elites = [trial for trial in study.trials if is_elite(trial)]
    assert len(elites) == 4 * 3
    for trial in elites:
        parent = study.trials[parent_of(trial) or 0]
        assert trial.params == parent.params
        assert mate_of(trial) is None


def test_an_elite_goes_on_with_its_parents_weights(tmp_path: Path) -> None:
    checkpoints, age = CheckpointStore(tmp_path), {}

    def objective(trial: optuna.Trial) -> float:
        state = checkpoints.inherit(trial) or {"age": 0}
        age[trial.number] = state["age"] + 1
        checkpoints.save(trial, {"age": age[trial.number]})
        return trial.suggest_float("x", 0, 1)

    sampler = trained(6, 3)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, 30, callbacks=[checkpoints.collector()])
    assert {age[n] for n in sampler.trial_numbers(4)} == {5}, "everybody is as old as the run"


def test_no_operator_and_no_predicate_is_asked_about_an_elite() -> None:
    mutated: list[Genome] = []
    judged: list[Mapping[str, Any]] = []

    def mutation(genome: Genome, rng: Any) -> Genome:  # noqa: ARG001
        mutated.append(genome)
        return genome

    def feasible(params: Mapping[str, Any]) -> bool:
        judged.append(params)
        return False

    sampler = trained(4, 3, mutation=mutation, feasible=feasible)
    with pytest.warns(UserWarning, match="was `feasible`"):
        evolve(sampler, 8, one_float)
    # Of generation 1 there is one offspring, bred from parent and mate until that is given up.
    assert (len(judged), len(mutated)) == (100, 200)


# Slots that continue nobody


def test_an_enqueued_trial_is_an_offspring_and_the_next_slot_continues_the_fittest() -> None:
    study = study_of(trained(4, 2), 1.0, 2.0, 3.0, 4.0)
    study.enqueue_trial({"float": 1.5})
    for _ in range(4):
        suggest_all(study.ask())
    assert continued(study.trials[4:]) == [None, 3, None, None]
    assert study.trials[4].params["float"] == 1.5
    assert parent_of(study.trials[4]) is not None


def test_a_trial_that_is_enqueued_without_params_is_enqueued_too() -> None:
    study = study_of(trained(4, 2), 1.0, 2.0, 3.0, 4.0)
    study.enqueue_trial({})
    study.ask()
    assert continued(study.trials[4:]) == [None]


def test_an_offspring_without_a_mate_is_no_elite_and_takes_nobodys_slot() -> None:
    study = study_of(trained(3, 2), 1.0, None, None)
    study.enqueue_trial({"int": 7})
    for _ in range(3):
        study.ask()
    assert [(parent_of(t), mate_of(t)) for t in study.trials[3:]] == [(0, None)] * 3
    assert continued(study.trials[3:]) == [None, 0, None]


def test_where_fewer_than_k_are_left_the_other_slots_are_offspring() -> None:
    study = study_of(trained(5, 3), 1.0, None, 2.0, None, None)
    for _ in range(5):
        study.ask()
    assert continued(study.trials[5:]) == [2, 0, None, None, None]


def test_elites_are_of_the_last_generation_and_of_no_older_one() -> None:
    study = study_of(trained(2, 1), 1.0, 2.0, None, None)
    study.ask()
    assert continued(study.trials[4:]) == [None]
    assert parent_of(study.trials[4]) in {0, 1}


def test_a_pruned_or_failed_elite_is_lost_and_its_number_used_up() -> None:
    sampler = trained(4, 2)
    study = study_of(sampler, 1.0, 2.0, 3.0, 4.0)
    study.tell(study.ask(), state=TrialState.PRUNED)  # was the fittest
    study.tell(study.ask(), state=TrialState.FAIL)
    for value in (0.5, 0.25):
        study.tell(study.ask(), value)
    assert continued(study.trials[4:]) == [3, 2, None, None]
    assert numbers(sampler.get_population(study, 1)) == [6, 7]
    study.ask()
    assert continued(study.trials[8:]) == [6]


# Workers that wait for nobody


def test_a_slot_that_has_not_recorded_whom_it_continues_is_not_waited_for() -> None:
    study = study_of(trained(4, 2), 1.0, 2.0, 3.0, 4.0)
    study._storage.create_new_trial(study._study_id)  # its worker is still choosing
    study.ask()
    assert continued(study.trials[5:]) == [3]


def test_while_the_last_generation_runs_its_fittest_so_far_are_continued() -> None:
    study = study_of(trained(4, 2), 1.0)
    others = [study.ask() for _ in range(3)]
    study.tell(others[0], 5.0)
    study.ask()
    study.tell(others[2], 3.0)
    study.ask()
    assert continued(study.trials[4:]) == [1, 3]


def test_threads_that_wait_for_nobody_continue_elites_of_the_last_generation() -> None:
    sampler = trained(8, 4)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(eventful, n_trials=sampler.n_trials(8), n_jobs=3)
    check_lineage(study.trials, rules_of(sampler, study), stragglers=True)


def test_a_slot_is_read_once_it_has_recorded_whom_it_continues(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    n_reads = 0
    study = study_of(trained(30, 29), *map(float, range(30)))
    get_trial = study._storage.get_trial

    def counted(trial_id: int) -> FrozenTrial:
        nonlocal n_reads
        n_reads += 1
        return get_trial(trial_id)

    study.ask()
    monkeypatch.setattr(study._storage, "get_trial", counted)
    for _ in range(28):
        study.ask()
    assert n_reads < 28 * 6


# Retries, and asking a generation at once


@pytest.mark.parametrize("n_between", [0, 1, 5])
def test_a_retried_elite_goes_on_as_the_same_one(n_between: int) -> None:
    sampler = trained(4, 2)
    study = study_of(sampler, 1.0, 2.0, 3.0, 4.0)
    cut_off = study.ask()
    cut_off.suggest_float("float", -5, 5)
    for _ in range(n_between):
        trial = study.ask()
        suggest_all(trial)
        study.tell(trial, 0.0)
    study.tell(cut_off, state=TrialState.FAIL)
    resume(study, study.trials[cut_off.number])
    retry = study.ask()
    suggest_all(retry)
    study.tell(retry, 1.0)
    assert continued([study.trials[retry.number]]) == [3]
    assert study.trials[retry.number].params == study.trials[3].params
    study.optimize(plain, 8)
    check_lineage(study.trials, rules_of(sampler, study))


def test_a_generation_that_is_asked_at_once_is_as_if_asked_one_by_one() -> None:
    one_by_one = evolve(trained(6, 3, fitness_smoothing=0.5), 30, eventful)
    at_once = optuna.create_study(
        direction="maximize", sampler=trained(6, 3, fitness_smoothing=0.5)
    )
    for _ in range(5):
        trials = ask_generation(at_once)
        assert len(trials) == 6
        for trial in reversed(trials):
            tell(at_once, trial)
    assert record_of(at_once) == record_of(one_by_one)


def test_a_schedule_with_elites_in_it_is_replayed_step_by_step() -> None:
    evolved = evolve(trained(4, 2), 16, one_float)
    schedule = Schedule.from_study(evolved, 12)  # an elite of an elite of …
    sampler = ReplaySampler(schedule)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(one_float, n_trials=sampler.n_trials())
    assert [trial.params for trial in study.trials] == [dict(s.params) for s in schedule.steps]
    assert [parent_of(trial) for trial in study.trials] == [None, 0, 1, 2]


@experimental
def test_what_a_sampler_around_ours_fixes_to_another_value_makes_a_founder_of_an_elite() -> None:
    sampler = trained(4, 2, inherited={"x"})
    study = evolve(sampler, 4, one_float)
    study.sampler = optuna.samplers.PartialFixedSampler({"x": 0.123}, sampler)
    study.optimize(one_float, n_trials=1)
    assert continued(study.trials[4:]) == [None]
    assert parent_of(study.trials[4]) is None
