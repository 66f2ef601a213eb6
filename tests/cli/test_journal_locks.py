"""`epbt` writes into a journal only while no worker does, however its workers lock it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import (
    JournalFileBackend,
    JournalFileOpenLock,
    JournalFileSymlinkLock,
)
from optuna.trial import TrialState

from epbt_optuna.journal import JournalLock
from tests.cli.conftest import Epbt

LOCKS = [JournalLock, JournalFileOpenLock, JournalFileSymlinkLock]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    study = optuna.create_study(
        study_name="s", storage=JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
    )
    study.ask()
    return tmp_path / "study.log"


@pytest.mark.parametrize("kind", LOCKS)
def test_it_waits_for_a_worker_that_holds_its_kind_of_lock(
    epbt: Epbt, path: Path, kind: type[JournalFileOpenLock]
) -> None:
    lock = kind(str(path))
    lock.acquire()
    before = path.read_bytes()
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(epbt, "running", path, "--fail")
        time.sleep(0.5)
        assert not ended.done()
        assert path.read_bytes() == before
        lock.release()
        assert ended.result().stdout == "Failed: 0.\n"
    study = optuna.load_study(
        study_name="s",
        storage=JournalStorage(JournalFileBackend(str(path), lock_obj=kind(str(path)))),
    )
    assert study.trials[0].state == TrialState.FAIL
    assert [file.name for file in path.parent.iterdir()] == ["study.log"]


def test_a_lock_that_a_dead_worker_left_behind_is_named_and_nothing_is_written(
    epbt: Epbt, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("epbt_optuna.cli._storage._LOCK_SECONDS", 0.1)
    JournalFileSymlinkLock(str(path)).acquire()
    before = path.read_bytes()
    assert epbt("running", path).exit_code == 0  # reading needs no lock
    result = epbt("running", path, "--fail")
    assert result.exit_code == 1
    assert "study.log.lock, Optuna's lock" in result.stderr
    assert path.read_bytes() == before
