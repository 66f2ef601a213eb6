"""Runs whose workers are killed anywhere go on, and nothing that was told is lost."""

from __future__ import annotations

import os
import time
from pathlib import Path

from optuna.storages.journal import JournalFileOpenLock
from optuna.trial import TrialState

from epbt_optuna import EPBTSampler
from tests.drills import kills
from tests.drills.processes import memory_folder
from tests.drills.storages import JOURNAL_GRACE_SECONDS, opened_study
from tests.drills.training import RULES, Training
from tests.replay import check_lineage
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


def run_on_journal(path: Path, folder: Path, n_trials: int) -> None:
    sampler = EPBTSampler(RULES.population_size, n_elites=RULES.n_elites, seed=0)
    with opened_study(f"journal:///{path}", "study", RULES, sampler) as study:
        study.optimize(Training(folder), n_trials=n_trials)
        check_lineage(study.get_trials(), RULES)


def test_a_worker_killed_with_the_journals_lock_holds_up_the_others_for_the_grace_period(
    tmp_path: Path,
) -> None:
    path = tmp_path / "study.log"
    run_on_journal(path, tmp_path / "checkpoints", 8)
    JournalFileOpenLock(str(path)).acquire()  # and is never released
    start = time.monotonic()
    run_on_journal(path, tmp_path / "checkpoints", 8)
    assert time.monotonic() - start > JOURNAL_GRACE_SECONDS
    assert not Path(f"{path}.lock").exists()


def test_a_journal_whose_last_line_was_cut_short_goes_on_without_that_line(
    tmp_path: Path,
) -> None:
    """Optuna reads such a journal but writes right behind the torn line: cut it off before."""
    path = tmp_path / "study.log"
    run_on_journal(path, tmp_path / "checkpoints", 8)
    written = path.read_bytes()
    os.truncate(path, len(written) - 10)
    whole_lines = path.read_bytes().rfind(b"\n") + 1
    assert len(written) - 1000 < whole_lines < len(written) - 10
    os.truncate(path, whole_lines)
    sampler = EPBTSampler(RULES.population_size, n_elites=RULES.n_elites, seed=0)
    with opened_study(f"journal:///{path}", "study", RULES, sampler) as study:
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)
        assert len(study.get_trials(states=(TrialState.COMPLETE,))) == 7
    run_on_journal(path, tmp_path / "checkpoints", 8)
