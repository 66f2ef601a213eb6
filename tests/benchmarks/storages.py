"""What a trial asks of the storage, and how many trials one driver gets through."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import optuna
import torch
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy import event

from epbt_optuna import CheckpointStore, EPBTSampler
from epbt_optuna.journal import JournalLock, journal_storage
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


@contextmanager
def counted_synchronisations(counts: Counter[str]) -> Iterator[None]:
    """Count `os.fsync` of the journal; all other files and folders are checkpoints'."""
    fsync = os.fsync

    def count_and_do(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        counts["fsyncs of the journal"] += os.path.isfile(path) and ".pt" not in path
        fsync(descriptor)

    with patch("os.fsync", count_and_do):
        yield


def count_sql(storage: RDBStorage, counts: Counter[str]) -> None:
    def note(name: str) -> None:
        counts[name] += 1

    event.listen(
        storage.engine, "before_cursor_execute", lambda *_: note("SQL statements"), named=False
    )
    event.listen(storage.engine, "commit", lambda *_: note("commits"))


def operations(storage: BaseStorage, folder: str, population: int) -> dict[str, Figure]:
    """Return what a trial of 8 floats, 8 reports and a checkpoint costs, the first generation left.

    Founders have no parents to be read.
    """
    counts: Counter[str] = Counter()
    sampler = EPBTSampler(population, seed=0)
    study = optuna.create_study(storage=storage, sampler=sampler)
    checkpoints = CheckpointStore(f"{folder}/checkpoints")

    def objective(trial: optuna.Trial) -> float:
        params = [trial.suggest_float(f"x{i}", -10, 10) for i in range(8)]
        state = checkpoints.inherit(trial)
        for step in range(8):
            trial.report(sum(params), step)
        checkpoints.save(trial, {"weights": torch.zeros(10) if state is None else state})
        return sum(params)

    study.optimize(objective, population)
    n_trials = sampler.n_trials(3) - population
    if isinstance(storage, RDBStorage):
        count_sql(storage, counts)
    with counted(study._storage) as calls, counted_synchronisations(counts):
        study.optimize(objective, n_trials)
    for name, number in calls.items():
        counts["writes" if name.startswith(WRITES) else "reads"] += number
    columns = ("reads", "writes", "fsyncs of the journal", "SQL statements", "commits")
    return {name: Figure.of([counts[name] / n_trials]) for name in columns if counts[name]}


def bench_storage_calls(quick: bool) -> Table:
    """Count what a trial asks of each storage: the same on every machine."""
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        optunas = f"{folder}/optunas"
        storages: dict[str, BaseStorage] = {
            "memory": InMemoryStorage(),
            "journal_storage": journal_storage(f"{folder}/ours"),
            "Optuna's journal": JournalStorage(
                JournalFileBackend(optunas, lock_obj=JournalLock(optunas))
            ),
            "SQLite": RDBStorage(f"sqlite:///{folder}/study.db"),
        }
        if not quick and postgres_programs() is not None:
            server = stack.enter_context(postgres_server())
            storages["PostgreSQL"] = RDBStorage(server.new_database())
        cases = []
        for name, storage in storages.items():
            found = operations(storage, f"{folder}/{name}", 4 if quick else 40)
            cases.append(Case(name, "calls", found))
            if isinstance(storage, RDBStorage):
                storage.remove_session()
                storage.engine.dispose()
    return Table(
        "What a trial of 8 floats, 8 reports and a checkpoint asks of the storage",
        tuple(cases),
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
