"""Studies on every kind of storage, opened and closed as a process of its own would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage

from epbt_optuna.journal import journal_storage
from tests.replay import Rules
from tests.servers import open_grpc

__all__ = ["opened_study"]


@contextmanager
def opened_study(url: str, name: str, rules: Rules, sampler: BaseSampler) -> Iterator[optuna.Study]:
    """Open a storage anew, as another process would, and a study in it; close it at the end.

    Args:
        url: `memory`, `journal:///<path>`, `grpc://<host>:<port>`, or SQLAlchemy's.
        name: Of the study; made if it is not there.
        rules: What the sampler was made with.
        sampler: Of the study.
    """
    with _opened_storage(url) as storage:
        yield optuna.create_study(
            study_name=name,
            storage=storage,
            direction=rules.direction,
            sampler=sampler,
            load_if_exists=True,
        )


@contextmanager
def _opened_storage(url: str) -> Iterator[BaseStorage]:
    if url == "memory":
        yield InMemoryStorage()
    elif url.startswith("grpc://"):
        with closing(open_grpc(url)) as storage:
            yield storage
    elif url.startswith("journal:///"):
        path = url.removeprefix("journal:///")
        yield journal_storage(path)
    else:
        database = RDBStorage(url)
        try:
            yield database
        finally:
            database.remove_session()
            database.engine.dispose()
