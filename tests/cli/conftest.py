"""Small studies on real storages, and the command as a test calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import CliRunner, Result
from optuna.storages import JournalStorage, RDBStorage
from sqlalchemy.pool import NullPool

from epbt_optuna import CheckpointStore, EPBTSampler
from epbt_optuna.cli import main
from epbt_optuna.journal import journal_storage
from tests.servers import postgres

__all__ = ["Epbt", "open_database", "open_journal", "postgres", "train"]

Epbt = Callable[..., Result]
"""Runs the command with these arguments."""


@pytest.fixture
def epbt(monkeypatch: pytest.MonkeyPatch) -> Epbt:
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*arguments: object, **environment: str) -> Result:
        result = CliRunner(env=environment).invoke(main, [str(a) for a in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception  # a traceback on a terminal
        return result

    return run


def open_journal(path: Path) -> JournalStorage:
    return journal_storage(path)


def open_database(url: str) -> RDBStorage:
    return RDBStorage(url, {"poolclass": NullPool})  # leaves no connection open


def train(storage: Any, folder: Path | None = None, name: str = "toy") -> optuna.Study:
    """Run five generations: trials 0–3, 4–5, 6–7, 8–9, 10–11; trial 5 fails, trial 6 is pruned."""
    sampler = EPBTSampler(4, n_elites=2, seed=0)
    study = optuna.create_study(
        study_name=name, direction="maximize", sampler=sampler, storage=storage
    )
    checkpoints = None if folder is None else CheckpointStore(folder)

    def objective(trial: optuna.Trial) -> float:
        theta = [trial.suggest_float(f"theta_{i}", -10, 10) for i in range(8)]
        if checkpoints is not None:
            checkpoints.save(trial, {"number": trial.number})
        for epoch in range(3):
            trial.report(float(epoch), epoch)
        if trial.number == 5:
            raise RuntimeError("out of memory")
        if trial.number == 6:
            raise optuna.TrialPruned
        return trial.number + theta[0] / 100

    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    study.optimize(objective, n_trials=sampler.n_trials(5), catch=RuntimeError)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return study


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one study, in `study.log` and `study.db`, which nothing may change."""
    folder = tmp_path_factory.mktemp("study")
    journal = open_journal(folder / "study.log")
    train(journal)
    optuna.copy_study(
        from_study_name="toy",
        from_storage=journal,
        to_storage=open_database(f"sqlite:///{folder / 'study.db'}"),
    )
    return folder


@pytest.fixture(params=["study.log", "study.db", "sqlite:///study.db"])
def storage(request: pytest.FixtureRequest, trained: Path) -> Iterator[str]:
    """The study in each of its storages, which are the same afterwards."""
    name: str = request.param
    path = trained / name.removeprefix("sqlite:///")
    before = path.read_bytes()
    yield f"sqlite:///{path}" if "://" in name else str(path)
    assert path.read_bytes() == before
    assert {file.name for file in trained.iterdir()} == {"study.log", "study.db"}
