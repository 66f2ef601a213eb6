"""Trials that still run when the next generation starts, and what a sampler reads of a study."""

from __future__ import annotations

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import EPBTSampler
from tests.replay import check_lineage, populations
from tests.samplers.studies import (
    SUGGESTIONS,
    eventful,
    fitness_of,
    mate_of,
    numbers,
    parent_of,
    plain,
    rules_of,
    suggest_all,
)


def test_offspring_breed_from_those_of_the_last_generation_that_have_finished() -> None:
    sampler = EPBTSampler(4, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    founders = [study.ask() for _ in range(4)]
    for founder in founders:
        suggest_all(founder)
    study.tell(founders[1], 1.0)
    study.tell(founders[3], 2.0)
    study.optimize(plain, n_trials=2)
    trials = study.trials
    for trial in trials[4:]:
        assert {parent_of(trial), mate_of(trial)} == {1, 3}
    check_lineage(study.trials, rules_of(sampler, study), stragglers=True)


def test_where_nobody_has_finished_offspring_are_founders_with_one_warning_a_study() -> None:
    sampler = EPBTSampler(2, n_elites=0, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.ask()
    study.ask()
    with pytest.warns(UserWarning, match="Generation 1 breeds from 0 individuals"):
        study.ask()
    for _ in range(5):
        suggest_all(study.ask())
    assert [parent_of(trial) for trial in study.trials] == [None] * 8
    assert all(trial.params.keys() == SUGGESTIONS.keys() for trial in study.trials[3:])
    study.tell(1, 1.0)
    study.ask()
    assert parent_of(study.trials[8]) == 1


def test_a_straggler_that_finishes_late_changes_the_populations_after_it() -> None:
    sampler = EPBTSampler(4, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    straggler = study.ask()
    study.optimize(plain, n_trials=9)
    assert 0 not in numbers(sampler.get_population(study, 2))
    study.tell(straggler, 1000.0)
    alive = populations(study.trials, rules_of(sampler, study))
    for generation in range(4):
        assert numbers(sampler.get_population(study, generation)) == numbers(alive[generation])
        assert numbers(alive[generation])[0] == 0
    study.optimize(plain, n_trials=20)
    assert any(parent_of(trial) == 0 for trial in study.trials)


def test_threads_without_a_barrier_breed_from_earlier_generations() -> None:
    sampler = EPBTSampler(8, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(eventful, n_trials=sampler.n_trials(10), n_jobs=2)
    check_lineage(study.trials, rules_of(sampler, study), stragglers=True)
    assert all(parent_of(trial) is not None for trial in study.trials[9:])


@pytest.mark.parametrize("n_zombies", [0, 3])
def test_reads_of_the_storage_do_not_grow_with_the_study(
    n_zombies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = InMemoryStorage()
    study = optuna.create_study(
        direction="maximize", sampler=EPBTSampler(8, seed=0), storage=storage
    )
    for _ in range(n_zombies):
        study.ask()
    n_reads = [0]
    get_trial, get_all_trials = storage.get_trial, storage.get_all_trials

    def counted(trial_id: int) -> FrozenTrial:
        n_reads[-1] += 1
        return get_trial(trial_id)

    def only_waiting(
        study_id: int, deepcopy: bool = True, states: tuple[TrialState, ...] | None = None
    ) -> list[FrozenTrial]:
        assert states == (TrialState.WAITING,), "only Optuna's own look for enqueued trials"
        return get_all_trials(study_id, deepcopy, states)

    monkeypatch.setattr(storage, "get_trial", counted)
    monkeypatch.setattr(storage, "get_all_trials", only_waiting)
    for _ in range(400):
        trial = study.ask()
        suggest_all(trial)
        study.tell(trial, fitness_of(trial.number))
        n_reads.append(0)
    assert max(n_reads[300:]) <= max(n_reads[8:100])
    assert sum(n_reads[300:400]) <= sum(n_reads[8:108])
