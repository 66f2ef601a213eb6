"""Runs whose workers are killed anywhere go on, and nothing that was told is lost."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState
from sqlalchemy import text

from epbt_optuna import CheckpointStore, EPBTSampler
from tests.drills import kills
from tests.drills.processes import memory_folder
from tests.drills.storages import opened_study
from tests.drills.training import RULES, Training
from tests.replay import check_lineage, lineage_of
from tests.servers import PostgresServer

N_KILLS = 8


def check(drill: kills.Drill) -> None:
    kills.check_survivors(drill, kills.run(drill))


def test_a_run_on_sqlite_that_is_killed_anywhere_goes_on_as_if_the_trials_had_failed() -> None:
    with memory_folder() as folder:
        check(kills.Drill(f"sqlite:///{folder}/study.db", folder, N_KILLS, seed=1))


def test_a_run_on_a_journal_that_is_killed_anywhere_goes_on_with_the_trials_retried(
    tmp_path: Path,
) -> None:
    storage = f"journal:///{tmp_path}/study.log"
    check(kills.Drill(storage, str(tmp_path), N_KILLS, seed=2, retry=True, keep="all"))


def test_workers_on_postgres_that_are_killed_anywhere_go_on_with_the_trials_retried(
    postgres: PostgresServer,
) -> None:
    url = postgres.new_database()
    with memory_folder() as folder:
        check(kills.Drill(url, folder, N_KILLS, seed=3, n_workers=2, retry=True))


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # the heartbeat
def test_a_trial_without_a_heartbeat_goes_on_in_another_worker_where_it_was(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    url, checkpoints = postgres.new_database(), CheckpointStore(tmp_path)
    storage = RDBStorage(
        url,
        heartbeat_interval=1,
        grace_period=2,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
    )
    study = optuna.create_study(storage=storage, sampler=EPBTSampler(4, n_elites=2, seed=0))

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        state = checkpoints.inherit(trial)
        epoch = 0 if state is None else state["epoch"]
        trial.set_user_attr("began at", epoch)
        checkpoints.save(trial, {"epoch": epoch + 2})
        return x

    study.optimize(objective, n_trials=5)
    with pytest.warns(UserWarning, match="Heartbeat of storage is supposed"):  # is that of optimize
        dead = study.ask()
    dead.suggest_float("x", 0, 1)
    checkpoints.save(dead, {"epoch": 3}, final=False)
    storage.record_heartbeat(dead._trial_id)  # its last one, a minute ago
    with storage.engine.begin() as connection:
        connection.execute(
            text("UPDATE trial_heartbeats SET heartbeat = heartbeat - INTERVAL '1 minute'")
        )
    study.optimize(objective, n_trials=1)
    failed, retry = study.trials[dead.number :]
    assert failed.state == TrialState.FAIL
    assert retry.state == TrialState.COMPLETE
    assert retry.system_attrs["retry_history"] == [dead.number]
    assert retry.params == dead.params
    assert lineage_of(retry) == {**(lineage_of(failed) or {}), "generation": 2}
    assert retry.user_attrs["began at"] == 3
    storage.remove_session()
    storage.engine.dispose()


# Journals


def run_on_journal(path: Path, folder: Path, n_trials: int) -> None:
    sampler = EPBTSampler(RULES.population_size, n_elites=RULES.n_elites, seed=0)
    with opened_study(f"journal:///{path}", "study", RULES, sampler) as study:
        study.optimize(Training(folder), n_trials=n_trials)
        check_lineage(study.get_trials(), RULES)


def test_a_worker_killed_with_the_journals_lock_holds_up_nobody(tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    run_on_journal(path, tmp_path / "checkpoints", 8)
    take_it = "import sys; from epbt_optuna.journal import JournalLock as Lock; "
    keep_it = "Lock(sys.argv[1]).acquire(); print(flush=True); sys.stdin.read()"
    worker = subprocess.Popen(
        [sys.executable, "-c", take_it + keep_it, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        with path.open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        worker.kill()
    run_on_journal(path, tmp_path / "checkpoints", 8)


def test_a_journal_whose_last_line_was_cut_short_goes_on_without_that_line(
    tmp_path: Path,
) -> None:
    path = tmp_path / "study.log"
    run_on_journal(path, tmp_path / "checkpoints", 8)
    os.truncate(path, path.stat().st_size - 10)  # within the line that told trial 7
    sampler = EPBTSampler(RULES.population_size, n_elites=RULES.n_elites, seed=0)
    with opened_study(f"journal:///{path}", "study", RULES, sampler) as study:
        (unfinished,) = study.get_trials(states=(TrialState.RUNNING,))
        study.tell(unfinished.number, state=TrialState.FAIL)
        assert len(study.get_trials(states=(TrialState.COMPLETE,))) == 7
    run_on_journal(path, tmp_path / "checkpoints", 8)


def test_a_worker_goes_on_where_another_one_died_in_the_middle_of_a_line(tmp_path: Path) -> None:
    """Both have the study open: without the lock's care, neither could read the journal again."""
    path = tmp_path / "study.log"
    sampler = EPBTSampler(RULES.population_size, n_elites=RULES.n_elites, seed=0)
    with opened_study(f"journal:///{path}", "study", RULES, sampler) as study:
        training = Training(tmp_path / "checkpoints")
        for n_bytes in (1, 7, 100, 10_000):
            study.optimize(training, n_trials=3)
            with path.open("ab") as journal:
                journal.write(b'{"op_code":4,' + b" " * n_bytes)
        study.optimize(training, n_trials=3)
        assert [trial.number for trial in study.get_trials()] == [*range(15)]
        check_lineage(study.get_trials(), RULES)
    assert all(json.loads(line) for line in path.read_text().splitlines())
