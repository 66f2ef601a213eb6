"""`python -m tests.benchmarks.storage_operations`: what a trial asks of each storage.

Counted, not timed: the same on every machine.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory
from unittest.mock import patch

import optuna
import torch
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages.journal import JournalFileBackend
from rich.console import Console
from rich.table import Table
from sqlalchemy import event

from epbt_optuna import CheckpointStore, EPBTSampler
from epbt_optuna.journal import JournalLock, journal_storage
from tests.benchmarks.parallel import WRITES, counted
from tests.servers import postgres_programs, postgres_server

POPULATION, N_GENERATIONS = 40, 3
COLUMNS = ("reads", "writes", "fsync of the journal", "SQL statements", "commits")


@contextmanager
def counted_synchronisations(counts: Counter[str]) -> Iterator[None]:
    """Count `os.fsync` of the journal; all other files and folders are checkpoints'."""
    fsync = os.fsync

    def count(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        counts["fsync of the journal"] += os.path.isfile(path) and ".pt" not in path
        fsync(descriptor)

    with patch("os.fsync", count):
        yield


def count_sql(storage: RDBStorage, counts: Counter[str]) -> None:
    def note(name: str) -> None:
        counts[name] += 1

    event.listen(
        storage.engine, "before_cursor_execute", lambda *_: note("SQL statements"), named=False
    )
    event.listen(storage.engine, "commit", lambda *_: note("commits"))


def operations(storage: BaseStorage, folder: str) -> dict[str, float]:
    """Return what a trial of 8 floats, 8 reports and a checkpoint costs, the first generation left.

    Founders have no parents to be read.
    """
    counts: Counter[str] = Counter()
    sampler = EPBTSampler(POPULATION, seed=0)
    study = optuna.create_study(storage=storage, sampler=sampler)
    checkpoints = CheckpointStore(f"{folder}/checkpoints")

    def objective(trial: optuna.Trial) -> float:
        params = [trial.suggest_float(f"x{i}", -10, 10) for i in range(8)]
        state = checkpoints.inherit(trial)
        for step in range(8):
            trial.report(sum(params), step)
        checkpoints.save(trial, {"weights": torch.zeros(10) if state is None else state})
        return sum(params)

    study.optimize(objective, POPULATION)
    n_trials = sampler.n_trials(N_GENERATIONS) - POPULATION
    own = study._storage
    if isinstance(own, _CachedStorage):
        count_sql(own._backend, counts)
    with counted(own) as calls, counted_synchronisations(counts):
        study.optimize(objective, n_trials)
    for name, number in calls.items():
        counts["writes" if name.startswith(WRITES) else "reads"] += number
    return {name: number / n_trials for name, number in counts.items()}


def bench() -> Table:
    table = Table(
        title="Operations of the storage for one trial: 8 floats, 8 reports, a checkpoint"
    )
    for heading in ("storage", *COLUMNS):
        table.add_column(heading, justify="left" if heading == "storage" else "right")
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
        if postgres_programs() is not None:
            server = stack.enter_context(postgres_server())
            storages["PostgreSQL"] = RDBStorage(server.new_database())
        for name, storage in storages.items():
            found = operations(storage, f"{folder}/{name}")
            cells = (f"{found[column]:.1f}" if found.get(column) else "–" for column in COLUMNS)
            table.add_row(name, *cells)
            if isinstance(storage, RDBStorage):
                storage.remove_session()
                storage.engine.dispose()
    return table


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("epbt_optuna").setLevel(logging.ERROR)
    Console(width=120).print(bench())
