"""Collectors and workers that are choosing a parent: neither waits for the other, nobody loses."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from epbt_optuna import resume
from epbt_optuna._internal.attrs import LINEAGE
from epbt_optuna._internal.optuna import read_trial
from epbt_optuna.checkpoints.retention import Retention
from epbt_optuna.population import Generations
from tests.checkpoints.workers import Workers

HOUR = 3600.0


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def trained(n_trials: int, population_size: int = 4, n_elites: int = 2) -> Workers:
    """Workers that have ended so many trials, one after the other."""
    workers = Workers(Generations(population_size, n_elites), random.Random(0))
    for _ in range(n_trials):
        number = workers.ask()
        workers.look(number)
        workers.record(number)
        workers.end(number)
    return workers


def test_what_a_choosing_worker_may_choose_stays_until_it_has_recorded_its_parents() -> None:
    workers = trained(12)  # M_4 is 8 to 11
    number = workers.ask()
    retention = Retention(workers.study)
    assert not retention.garbage(workers.study, "population")
    workers.look(number)
    workers.record(number)
    assert sorted(retention.garbage(workers.study, "population")) == list(range(8))


def test_workers_that_are_choosing_all_the_time_do_not_keep_what_was_garbage_before() -> None:
    workers = trained(12)
    slow = workers.ask()
    retention = Retention(workers.study)
    assert not retention.garbage(workers.study, "population")
    for _ in range(5):
        number = workers.ask()
        workers.look(slow)
        workers.record(slow)
        assert sorted(retention.garbage(workers.study, "population"))[:8] == list(range(8))
        slow = number


def test_a_worker_that_died_while_choosing_holds_up_its_own_time_and_only_for_an_hour() -> None:
    workers, clock = trained(12), Clock()
    retention = Retention(workers.study, clock)
    dead = workers.ask()
    assert not retention.garbage(workers.study, "population")
    for _ in range(6):  # 13 belongs to generation 5 with the dead one, the others come later
        number = workers.ask()
        workers.look(number)
        workers.record(number)
        workers.end(number)
    assert dead == 12
    garbage = set(retention.garbage(workers.study, "population"))
    assert garbage
    assert min(garbage) > dead
    clock.now = HOUR + 1
    assert set(range(8)) <= retention.garbage(workers.study, "population").keys()


def test_a_record_that_cannot_be_read_holds_as_long_as_its_trial_runs() -> None:
    workers, clock = trained(12), Clock()
    number = workers.ask()
    newer: Any = {"version": 99, "parents": [0, 1, 2]}
    workers.study._storage.set_trial_system_attr(number, LINEAGE.key, newer)
    retention = Retention(workers.study, clock)
    assert not retention.garbage(workers.study, "population")
    clock.now = 100 * HOUR
    assert not retention.garbage(workers.study, "population")
    workers.study.tell(number, state=TrialState.PRUNED)
    assert sorted(retention.garbage(workers.study, "population")) == list(range(8))


def test_a_trial_in_the_queue_protects_the_parents_of_its_own_generation_and_no_others() -> None:
    workers = trained(4)
    workers.study.enqueue_trial({})  # 4: of generation 1, it breeds from M_0
    for number in range(5, 13):
        trial = workers.study._storage.create_new_trial(workers.study._study_id)
        workers.asked.append(trial)
        workers.look(number)
        workers.record(number)
        workers.end(number)
    garbage = Retention(workers.study).garbage(workers.study, "population")
    assert garbage.keys() == {5, 6, 7}  # M_0 is 0 to 3, and M_4 8 to 11
    assert workers.ask() == 4
    workers.look(4)


def test_twice_as_many_trials_in_the_queue_are_twice_as_many_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def n_reads(n_waiting: int) -> int:
        workers, n = trained(8), 0
        for _ in range(n_waiting):
            workers.study.enqueue_trial({})

        def counted(study: optuna.Study, number: int) -> object:
            nonlocal n
            n += 1
            return read_trial(study, number)

        with monkeypatch.context() as patched:
            for module in ("checkpoints.retention", "population.history"):
                patched.setattr(f"epbt_optuna.{module}.read_trial", counted)
            Retention(workers.study).garbage(workers.study, "population")
        return n

    assert n_reads(200) < 2.2 * n_reads(100)


def steps(workers: Workers, failed: list[int], n_workers: int) -> dict[str, Callable[[], None]]:
    """Return what may happen next."""
    pick, study = workers.random.choice, workers.study
    may: dict[str, Callable[[], None]] = {}

    def fail() -> None:
        number = pick(list(workers.training))
        del workers.training[number]
        study.tell(number, state=TrialState.FAIL)
        failed.append(number)

    def retry() -> None:
        resume(study, workers.trials[failed.pop()])

    if workers.n_running < n_workers:
        may["ask"] = lambda: void(workers.ask())
        may["enqueue"] = lambda: study.enqueue_trial({})
    if workers.asked:
        may["look"] = lambda: workers.look(pick(workers.asked))
    if workers.chosen:
        may["record"] = lambda: workers.record(pick(list(workers.chosen)))
    if workers.training:
        may["end"] = lambda: workers.end(pick(list(workers.training)), luck=100)
        may["prune"] = lambda: workers.end(pick(list(workers.training)), TrialState.PRUNED)
        may["fail"] = fail
    if failed:
        may["retry"] = retry
    return may


def void(_: object) -> None:
    """Take a value for nothing."""


WEIGHTS = {"ask": 4, "look": 4, "record": 3, "end": 4}


SETTINGS = [(False, 0.0, 20), (True, 0.0, 4), (False, 0.9, 4), (True, 0.9, 8)]


@pytest.mark.parametrize(
    ("train_elites", "smoothing", "seed"),
    [(*settings, seed) for *settings, n_seeds in SETTINGS for seed in range(n_seeds)],
)
def test_nobody_loses_whom_it_chose_whatever_happens_between_two_reads_of_a_collector(
    train_elites: bool, smoothing: float, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    population_size = chance.randint(1, 6)
    n_elites = chance.randrange(population_size)
    generations = Generations(population_size, n_elites, train_elites, smoothing)
    workers = Workers(generations, chance)
    collectors = [Retention(workers.study), Retention(workers.study)]
    failed: list[int] = []
    n_workers, n_removed, is_stepping = chance.randint(1, 8), 0, False

    def step() -> None:
        nonlocal is_stepping
        if not is_stepping and chance.random() < 0.5:  # what a step reads is no step's moment
            is_stepping = True
            may = steps(workers, failed, n_workers)
            name = chance.choices(list(may), [WEIGHTS.get(name, 1) for name in may])[0]
            may[name]()
            is_stepping = False

    def stepping_before(read: Callable[..., object]) -> Callable[..., object]:
        def read_later(*arguments: object) -> object:
            step()
            return read(*arguments)

        return read_later

    for module in ("checkpoints.retention", "population.history", "samplers.elites"):
        name = f"epbt_optuna.{module}.read_trial"
        monkeypatch.setattr(name, stepping_before(read_trial))
    for _ in range(40):
        for _ in range(chance.randint(0, 20)):
            step()
        while failed:  # whoever retries does so before the next collection
            resume(workers.study, workers.trials[failed.pop()])
        collector = chance.choice(collectors)
        for number in collector.garbage(workers.study, "population"):
            step()
            workers.remove(collector, [number])
            n_removed += 1
        is_stepping = True  # nothing happens meanwhile
        workers.check_fittest()
        is_stepping = False
    assert n_removed > 5 or generations.population_size == 1
