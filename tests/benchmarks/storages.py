"""What a trial asks of the storage, and how many trials one driver gets through."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
import torch
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage

from epbt_optuna import CheckpointStore, EPBTSampler
from epbt_optuna.journal import journal_storage
from epbt_optuna.parallel import optimize
from tests.benchmarks.measure import figures
from tests.benchmarks.parallel import ALONE, EngineName
from tests.benchmarks.table import Case, Figure, Table
from tests.servers import postgres_programs, postgres_server

WRITES = ("create_", "set_", "delete_", "record_")


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


def bench_storage_calls(quick: bool) -> Table:
    """Count the calls of a storage for a trial of 8 floats, 8 reports and a checkpoint."""
    population, n_generations = (4, 2) if quick else (40, 6)
    storage = InMemoryStorage()
    study = optuna.create_study(storage=storage, sampler=EPBTSampler(population, seed=0))

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
    n_trials = len(study.trials)

    def a_trial(n_calls: float) -> Figure:
        return Figure.of([n_calls / n_trials])

    frequent = [(name, n) for name, n in calls.most_common() if n >= n_trials / 20]
    writes = {name: n for name, n in calls.items() if name.startswith(WRITES)}
    shown = {"all writes": a_trial(sum(writes.values()))}
    for is_write in (True, False):
        shown |= {name: a_trial(n) for name, n in frequent if (name in writes) == is_write}
    return Table(
        "The storage's calls for a trial of 8 floats, 8 reports and a checkpoint",
        (Case(f"mean of {n_trials} trials", "calls", shown),),
        over={},
    )


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
        optimize(
            study,
            trivial,
            n,
            workers=2,
            engine=engine,
            callbacks=callbacks,
            show_progress_bar=False,
        )
    half = len(ends) // 2
    return (len(ends) - 1 - half) / (ends[-1] - ends[half])


def bench_driver(quick: bool) -> Table:
    """Measure the trials a second of one driver with nothing to do, by storage and engine."""
    engines: dict[str, EngineName | None] = {ALONE: None, "threads": "thread"}
    if not quick:
        engines["processes"] = "process"
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        paths = (Path(folder, str(index)) for index in count())
        storages: dict[str, tuple[int, Callable[[], BaseStorage | None]]] = {
            "memory": (2000, lambda: None),
            "journal": (400, lambda: journal_storage(next(paths))),
            "SQLite": (200, lambda: RDBStorage(f"sqlite:///{next(paths)}")),
        }
        if not quick and postgres_programs() is not None:
            server = stack.enter_context(postgres_server())
            storages["PostgreSQL"] = (200, lambda: RDBStorage(server.new_database()))
        cases = []
        for name, (n_trials, make) in storages.items():
            rates: dict[str, list[float]] = {
                way: []
                for way, engine in engines.items()
                if name != "memory" or engine != "process"
            }
            for way in list(rates) * (1 if quick else 3):
                storage = make()
                rates[way].append(
                    trials_per_second(storage, engines[way], 6 if quick else n_trials)
                )
                if isinstance(storage, RDBStorage):
                    storage.remove_session()
                    storage.engine.dispose()
            cases.append(Case(name, "trials/s", figures(rates)))
    return Table(
        "Trials a second with nothing to do, one driver with two workers",
        tuple(cases),
        over=dict.fromkeys(engines, ALONE),
    )


BENCHMARKS = {
    "storage-calls": bench_storage_calls,
    "driver": bench_driver,
}
