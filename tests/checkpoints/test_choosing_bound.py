"""How much stays while hundreds of workers are choosing a parent at any moment."""

from __future__ import annotations

import random
from collections import deque
from itertools import islice

import pytest

from epbt_optuna.checkpoints.retention import Retention
from epbt_optuna.population import Generations
from tests.checkpoints.workers import Workers


@pytest.mark.parametrize(
    ("n_workers", "generations", "at_once", "n_collectors", "n_rounds"),
    [
        (24, Generations(24, 12), 3, 1, 60),
        (24, Generations(24, 12), 3, 25, 60),  # a process for each worker: each has read by itself
        (24, Generations(8, 4), 6, 25, 60),
        (24, Generations(24, 12, train_elites=True, fitness_smoothing=0.5), 3, 1, 60),
        (24, Generations(8, 4, train_elites=True, fitness_smoothing=0.5), 6, 25, 60),
        (10_000, Generations(3_000, 1_500), 500, 1, 8),
    ],
)
def test_what_stays_is_bounded_though_workers_are_choosing_all_the_time(
    n_workers: int, generations: Generations, at_once: int, n_collectors: int, n_rounds: int
) -> None:
    population_size = generations.population_size
    workers = Workers(generations, random.Random(0))
    retentions = [Retention(workers.study) for _ in range(n_collectors)]
    n_asked: deque[int] = deque([0], maxlen=2)  # when something was last marked, and before that
    n_collections = n_removed = n_trials = 0
    while n_collections < n_rounds:
        # A group asks and looks, and only then does the group before it record: so many are
        # choosing at any moment.
        group = [workers.ask() for _ in range(n_workers if n_trials == 0 else at_once)]
        n_trials += len(group)
        before = list(workers.chosen)
        bred_from = {generations.of(number) - 1 for number in group}
        views = dict(zip(bred_from, workers.history.newest(workers.study, *bred_from), strict=True))
        for number in group:
            workers.look(number, views[generations.of(number) - 1])
        for number in before:
            workers.record(number)
        for _ in range(at_once if before else 0):
            number = workers.random.choice([*islice(workers.training, 2 * at_once)])
            workers.end(number, luck=2 * population_size)
            retention = retentions[number % n_collectors]
            if retention.is_due(number):
                garbage = list(retention.garbage(workers.study, "population"))
                workers.remove(retention, garbage)
                n_removed += len(garbage)
                n_collections += 1
                # What was marked goes at the next collection, or, where each process has marks of
                # its own, with its next trial: meanwhile each other worker asks about one.
                in_between = n_trials - n_asked[0] if n_collectors == 1 else n_workers
                n_asked.append(n_trials)
                most = population_size + generations.n_later + workers.n_running + in_between
                assert len(workers.stored) <= most
    assert n_removed > n_trials / 10
