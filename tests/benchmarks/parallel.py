"""`python -m tests.benchmarks.parallel`: what many workers gain, and what they cost.

    python -m tests.benchmarks.parallel                 # everything
    python -m tests.benchmarks.parallel speed-up idle   # some of it

Medians, the things compared taking turns. On a machine that does nothing else.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from statistics import mean, median, stdev
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import optuna
import torch
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from rich.console import Console
from rich.table import Table

from epbt_optuna import CheckpointStore, EPBTSampler
from epbt_optuna.journal import journal_storage
from epbt_optuna.parallel import optimize
from tests.servers import postgres_programs, postgres_server

__all__ = ["BENCHES"]

EngineName = Literal["process", "ray", "thread"]

N_REPEATS = 5
POPULATION = 8  # of the speed-up: generations of 8 and 4 trials, so that two workers come out even
N_GENERATIONS = 9
TRIAL_SECONDS = 1.0

WRITES = ("create_", "set_", "delete_", "record_")


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def journal_study(folder: str, sampler: EPBTSampler) -> optuna.Study:
    storage = journal_storage(f"{folder}/log")
    return optuna.create_study(storage=storage, sampler=sampler, direction="maximize")


# Two workers against one


def burn(n_steps: int) -> float:
    """Compute in Python, so within its lock and on one core."""
    value = 0.0
    for step in range(n_steps):
        value = (value + step) % 7.0
    return value


class Burning:
    """An objective that computes for a fixed number of steps."""

    def __init__(self, n_steps: int) -> None:
        self.n_steps = n_steps

    def __call__(self, trial: optuna.Trial) -> float:
        burn(self.n_steps)
        return -abs(trial.suggest_float("x", -1, 1))


def bench_speed_up(engine: EngineName = "process") -> Table:
    """Time a run of a CPU-bound objective, start of the workers included, on one and on two.

    With Ray, a cluster is there beforehand, as it is where people use one.
    """
    if engine == "ray":
        import ray

        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    n_steps = int(1e6 * TRIAL_SECONDS / median(seconds(partial(burn, 1_000_000)) for _ in range(5)))
    times: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(N_REPEATS):
        for workers, own in times.items():
            with TemporaryDirectory() as folder:
                study = journal_study(folder, EPBTSampler(POPULATION, seed=0))
                run = partial(
                    optimize,
                    study,
                    Burning(n_steps),
                    n_generations=N_GENERATIONS,
                    workers=workers,
                    engine=engine,
                )
                own.append(seconds(run))
    if engine == "ray":
        ray.shutdown()
    n_trials = EPBTSampler(POPULATION).n_trials(N_GENERATIONS)
    table = Table(
        title=f"{n_trials} trials of {TRIAL_SECONDS:g} s of computing, engine={engine!r}, "
        f"median of {N_REPEATS} (least – most), s; the goal is ×0.56"
    )
    for heading in ("workers", "seconds", "× one worker's"):
        table.add_column(heading, justify="right")
    for workers, own in times.items():
        cells = f"{median(own):.1f} ({min(own):.1f} – {max(own):.1f})"
        table.add_row(str(workers), cells, f"{median(own) / median(times[1]):.3f}")
    return table


# The barrier's price


class Uneven:
    """An objective whose trials take 1 to 5 times as long as one another, whatever they find."""

    def __init__(self, seed: int, shortest: float) -> None:
        self.seed = seed
        self.shortest = shortest
        self.busy = 0.0

    def __call__(self, trial: optuna.Trial) -> float:
        start = time.perf_counter()
        x = np.array([trial.suggest_float(f"x{i}", -10, 10) for i in range(8)])
        rng = np.random.default_rng([self.seed, trial.number])
        time.sleep(self.shortest * rng.uniform(1, 5))
        self.busy += time.perf_counter() - start  # the interpreter's lock makes it good enough
        return -float(((x - 3) ** 2).mean())


def bench_idle() -> Table:
    """Measure how long workers wait, and how fit the fittest becomes, with and without barrier."""
    population, n_generations = 20, 15
    table = Table(
        title=f"Population {population}, {n_generations} generations, durations 1 : 5, "
        f"{N_REPEATS} seeds: mean ± standard deviation"
    )
    for heading in ("workers", "barrier", "idle share", "seconds", "final fitness (best is 0)"):
        table.add_column(heading, justify="right")
    for workers in (4, 10):
        for barrier in (True, False):
            idle, walls, fitness = [], [], []
            for seed in range(N_REPEATS):
                study = optuna.create_study(
                    direction="maximize", sampler=EPBTSampler(population, seed=seed)
                )
                objective = Uneven(seed, shortest=0.05)
                run = partial(
                    optimize,
                    study,
                    objective,
                    n_generations=n_generations,
                    workers=workers,
                    engine="thread",
                    barrier=barrier,
                )
                walls.append(seconds(run))
                idle.append(1 - objective.busy / (workers * walls[-1]))
                fitness.append(study.best_value)
            cells = (f"{mean(own):.3g} ± {stdev(own):.2g}" for own in (idle, walls, fitness))
            table.add_row(str(workers), "yes" if barrier else "no", *cells)
    return table


# What a trial costs the storage


@contextmanager
def counted(storage: BaseStorage) -> Iterator[Counter[str]]:
    """Count the calls that Optuna makes of a storage, by name."""
    calls: Counter[str] = Counter()

    def counting(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*arguments: Any, **options: Any) -> Any:
            calls[name] += 1
            return method(*arguments, **options)

        return call

    names = [name for name in dir(BaseStorage) if not name.startswith("_")]
    for name in names:
        setattr(storage, name, counting(name, getattr(storage, name)))
    yield calls
    for name in names:
        delattr(storage, name)


def bench_storage_calls() -> Table:
    """Count the calls of a storage for a trial of 8 floats, 8 reports and a checkpoint."""
    sampler = EPBTSampler(40, seed=0)
    n_generations = 6
    storage = InMemoryStorage()
    study = optuna.create_study(storage=storage, sampler=sampler)

    with TemporaryDirectory() as folder:
        checkpoints = CheckpointStore(folder)

        def objective(trial: optuna.Trial) -> float:
            params = [trial.suggest_float(f"x{i}", -10, 10) for i in range(8)]
            state = checkpoints.inherit(trial)
            for step in range(8):
                trial.report(sum(params), step)
            checkpoints.save(trial, {"weights": torch.zeros(10) if state is None else state})
            return sum(params)

        with counted(storage) as calls:
            optimize(study, objective, n_generations=n_generations, workers=1, engine="thread")
    table = Table(title="Calls of the storage by one trial: 8 floats, 8 reports, one checkpoint")
    for heading in ("call", "a trial", "kind"):
        table.add_column(heading, justify="right" if heading == "a trial" else "left")
    n_trials = len(study.trials)
    for name, count in sorted(calls.items(), key=lambda item: -item[1]):
        if count >= n_trials / 20:
            kind = "write" if name.startswith(WRITES) else "read"
            table.add_row(name, f"{count / n_trials:.2f}", kind)
    writes = sum(count for name, count in calls.items() if name.startswith(WRITES))
    table.add_row("all writes", f"{writes / n_trials:.2f}", "write", style="bold")
    return table


# How fast a driver is


def trivial(trial: optuna.Trial) -> float:
    return -abs(trial.suggest_float("x", -1, 1))


def trials_per_second(storage: BaseStorage | None, engine: EngineName | None, n: int) -> float:
    """Return the rate of a run of `n` trivial trials, the second half of it: workers have begun."""
    study = optuna.create_study(storage=storage, sampler=EPBTSampler(40, seed=0))
    ends: list[float] = []
    callbacks = [lambda _study, _trial: ends.append(time.perf_counter())]
    if engine is None:
        study.optimize(trivial, n_trials=n, callbacks=callbacks)
    else:
        optimize(study, trivial, n, workers=2, engine=engine, callbacks=callbacks)
    half = len(ends) // 2
    return (len(ends) - 1 - half) / (ends[-1] - ends[half])


def bench_driver() -> Table:
    """Measure the trials a second of one driver with nothing to do, by storage and engine."""
    table = Table(title="Trials a second of a trivial objective, one driver with two workers")
    for heading in ("storage", "study.optimize", "threads", "processes"):
        table.add_column(heading, justify="right" if heading != "storage" else "left")

    def row(name: str, n_trials: int, make: Callable[[], BaseStorage | None]) -> None:
        engines: tuple[EngineName | None, ...] = (None, "thread", "process")
        cells = []
        for engine in engines if name != "memory" else engines[:2]:
            storage = make()
            cells.append(f"{trials_per_second(storage, engine, n_trials):.0f}")
            if isinstance(storage, RDBStorage):
                storage.remove_session()
                storage.engine.dispose()
        table.add_row(name, *cells)

    with TemporaryDirectory() as folder:
        paths = (Path(folder, str(index)) for index in range(100))
        row("memory", 2000, lambda: None)
        row("journal", 400, lambda: journal_storage(next(paths)))
        row("SQLite", 200, lambda: RDBStorage(f"sqlite:///{next(paths)}"))
        if postgres_programs() is not None:
            with postgres_server() as server:
                row("PostgreSQL", 200, lambda: RDBStorage(server.new_database()))
    return table


BENCHES: dict[str, Callable[[], Table]] = {
    "speed-up": bench_speed_up,
    "speed-up-ray": partial(bench_speed_up, "ray"),
    "idle": bench_idle,
    "storage": bench_storage_calls,
    "driver": bench_driver,
}


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("epbt_optuna").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    for bench_name in sys.argv[1:] or BENCHES:
        Console().print(BENCHES[bench_name]())
