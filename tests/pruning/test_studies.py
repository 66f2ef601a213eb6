"""The pruner in whole studies."""

from __future__ import annotations

import pickle
from functools import partial
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.pruners import BasePruner, PatientPruner
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import EPBTPruner, EPBTSampler, ask_generation
from tests.pruning.generations import (
    AnySampler,
    ask,
    both_samplers,
    experimental,
    founders,
    is_pruned,
    new_study,
    play,
)


def hill(trial: optuna.Trial) -> float:
    """Founders that are hopeless in half of the space, and so are their mutants."""
    x = trial.suggest_float("x", -1, 1)
    noise = np.random.default_rng(trial.number)
    value = 0.0
    for step in range(8):
        value = step * max(x, 0) + 0.01 * noise.normal()
        trial.report(value, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return value


def run(sampler: AnySampler, pruner: BasePruner, objective: Any = hill) -> optuna.Study:
    study = new_study(sampler, pruner)
    study.optimize(objective, n_trials=sampler.n_trials(4))
    return study


@both_samplers
def test_the_same_seed_gives_the_same_study(sampler_class: type[AnySampler]) -> None:
    one, other = (run(sampler_class(20, seed=1), EPBTPruner()) for _ in range(2))
    assert TrialState.PRUNED in {trial.state for trial in one.trials}
    for trial, twin in zip(one.trials, other.trials, strict=True):
        assert trial.state == twin.state
        assert trial.params == twin.params
        assert trial.intermediate_values == twin.intermediate_values


def test_a_generation_asked_at_once_and_trained_in_step_is_pruned_as_well() -> None:
    sampler = EPBTSampler(20, seed=0)
    study = new_study(sampler)
    states: list[set[TrialState]] = []
    for _ in range(4):
        running = ask_generation(study)
        for step in range(8):
            for trial in list(running):
                slope = 0.1 if trial.number % 2 else -1.0
                trial.report(len(states) + slope * step, step)
                if trial.should_prune():
                    study.tell(trial, state=TrialState.PRUNED)
                    running.remove(trial)
        for trial in running:
            study.tell(trial, study.trials[trial.number].intermediate_values[7])
        generation = sampler.trial_numbers(len(states))
        states.append({study.trials[n].state for n in generation})
    assert states[0] == {TrialState.COMPLETE}  # nobody knows yet what training brings
    assert TrialState.PRUNED in states[-1]


def test_many_workers_prune_too() -> None:
    sampler = EPBTSampler(20, seed=0)
    study = new_study(sampler)
    study.optimize(hill, n_trials=sampler.n_trials(4), n_jobs=4)
    for generation in range(4):
        numbers = sampler.trial_numbers(generation)
        assert any(study.trials[n].state == TrialState.COMPLETE for n in numbers)


@pytest.mark.parametrize(("min_survivors", "least"), [(2, 2), (18, 10)])
def test_every_generation_keeps_its_survivors(min_survivors: int, least: int) -> None:
    sampler = EPBTSampler(20, seed=0)
    pruner = EPBTPruner(min_survivors=min_survivors, min_offspring=1, n_min_trials=1)
    study = run(sampler, pruner)
    for generation in range(4):
        numbers = sampler.trial_numbers(generation)
        n_complete = sum(study.trials[n].state == TrialState.COMPLETE for n in numbers)
        assert n_complete >= min(least, len(numbers))


def training(trial: optuna.Trial, share_hopeless: float) -> float:
    """Everybody improves on the generation before, but for those who collapse."""
    trial.suggest_float("x", 0, 1)
    rng = np.random.default_rng(trial.number)
    is_hopeless = rng.random() < share_hopeless
    value = 0.0
    for step in range(8):
        n_trained = 8 * (trial.number // 20) + step
        value = 0.02 * n_trained - is_hopeless + 0.02 * rng.normal()
        trial.report(value, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return value


@pytest.mark.parametrize(
    ("share_hopeless", "least", "most"), [(0.5, 0.25, 0.45), (0.25, 0.1, 0.25), (0.0, 0.0, 0.05)]
)
def test_training_is_saved_by_as_much_as_there_are_hopeless_individuals(
    share_hopeless: float, least: float, most: float
) -> None:
    sampler = EPBTSampler(40, seed=0)
    study = new_study(sampler)
    n_trials = sampler.n_trials(6)
    study.optimize(partial(training, share_hopeless=share_hopeless), n_trials=n_trials)
    n_reports = sum(len(trial.intermediate_values) for trial in study.trials)
    assert least <= 1 - n_reports / (8 * n_trials) <= most


def test_only_trials_of_the_generation_and_its_parents_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = new_study(EPBTSampler(6, seed=0), EPBTPruner(n_min_trials=1))
    for number in range(60):
        play(study, [float(number)] * 2)
    trial = ask(study, [0.0])
    numbers = []
    get_trial = study._storage.get_trial

    def counting(trial_id: int) -> FrozenTrial:
        frozen = get_trial(trial_id)
        numbers.append(frozen.number)
        return frozen

    monkeypatch.setattr(study._storage, "get_trial", counting)
    assert trial.should_prune()
    assert len(numbers) < 12
    assert min(numbers) >= 51


@experimental
def test_patience_lets_a_trial_go_on_while_it_has_not_declined_for_long() -> None:
    study = new_study(EPBTSampler(20, seed=0), PatientPruner(EPBTPruner(), patience=2))
    founders(study, 19, n_reports=9)
    trial = study.ask()
    decisions = []
    for step, value in enumerate([0.1, 0.2, 0.3, 0.2, 0.2, 0.2]):
        trial.report(value, step)
        decisions.append(trial.should_prune())
    assert decisions == [False, False, False, False, False, True]
    study.tell(trial, 0.2)


@experimental
def test_patience_alone_does_not_prune_who_has_a_future() -> None:
    study = new_study(EPBTSampler(20, seed=0), PatientPruner(EPBTPruner(), patience=1))
    founders(study, 19, n_reports=9)
    assert not is_pruned(study, 19.5, 19.0, 18.9, 18.8)


def test_a_pruner_can_be_pickled_with_its_sampler() -> None:
    pruner = pickle.loads(pickle.dumps(EPBTPruner(sampler=EPBTSampler(20, seed=0))))
    study = new_study(RandomSampler(seed=0), pruner)
    founders(study, 19)
    assert is_pruned(study, 0.5)
