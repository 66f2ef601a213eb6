"""`epbt watch`: the summary while others run the study, with and without a terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from epbt_optuna import EPBTSampler
from epbt_optuna.cli import _watch
from epbt_optuna.journal import journal_storage
from tests.cli.conftest import Epbt

ROOT = Path(__file__).parents[2]
SECONDS = 120.0  # for a process to get there on a busy machine


def begun(path: Path) -> optuna.Study:
    sampler = EPBTSampler(4, n_elites=2, seed=0)
    storage = journal_storage(path / "study.log")
    return optuna.create_study(
        study_name="toy", direction="maximize", sampler=sampler, storage=storage
    )


def run_trials(study: optuna.Study, n: int) -> None:
    study.optimize(lambda trial: trial.number + trial.suggest_float("x", 0, 1), n_trials=n)


def test_a_study_that_is_done_is_shown_once(
    epbt: Epbt, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_watch, "_QUIET", timedelta(0))
    result = epbt("watch", storage)
    assert result.exit_code == 0
    title, *rows = result.stdout.splitlines()
    assert title == "toy"
    assert [row.split()[:4] for row in rows] == [
        ["gen", str(g), "trials", "4" if g == 0 else "2"] for g in range(5)
    ]
    assert "failed 1" in rows[1]
    assert rows[4].endswith("trial 11")


def test_a_line_is_written_for_each_generation_that_has_changed(
    epbt: Epbt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = begun(tmp_path)
    looks = iter([3, 0, 2, 1])

    def sleep(seconds: float) -> None:
        assert seconds == 0.5
        run_trials(study, next(looks))

    monkeypatch.setattr(time, "sleep", sleep)
    result = epbt("watch", tmp_path / "study.log", "--generations", 2, "--interval", 0.5)
    assert result.exit_code == 0
    rows = [row.split() for row in result.stdout.splitlines()[1:]]
    assert [(row[1], row[3]) for row in rows] == [("0", "3"), ("0", "4"), ("1", "1"), ("1", "2")]
    assert next(looks, None) is None


def test_it_waits_while_a_trial_runs_and_until_it_has_been_quiet(tmp_path: Path) -> None:
    study = begun(tmp_path)
    assert not _watch._is_done(study, None)
    assert not _watch._is_done(study, 1)
    run_trials(study, 4)
    assert not _watch._is_done(study, None), "the next generation may begin at once"
    assert _watch._is_done(study, 1)
    assert not _watch._is_done(study, 2)
    study.ask()
    assert not _watch._is_done(study, 2)


def test_it_waits_while_the_first_trial_is_being_asked(
    epbt: Epbt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = begun(tmp_path)
    storage = journal_storage(tmp_path / "study.log")
    asked = storage.create_new_trial(storage.get_study_id_from_name("toy"))  # and no more yet

    def end() -> None:
        storage.set_trial_state_values(asked, TrialState.FAIL)

    looks = iter((lambda: run_trials(study, 3), end))
    monkeypatch.setattr(time, "sleep", lambda _: next(looks)())
    result = epbt("watch", tmp_path / "study.log", "--generations", 1)
    assert result.exit_code == 0
    assert next(looks, None) is None


def test_what_nobody_of_ours_has_bred_is_an_error(epbt: Epbt, tmp_path: Path) -> None:
    storage = journal_storage(tmp_path / "study.log")
    optuna.create_study(study_name="other", storage=storage).add_trial(
        optuna.create_trial(value=1.0)
    )
    result = epbt("watch", tmp_path / "study.log")
    assert result.exit_code == 1
    assert "has no generations" in result.stderr


def watching(path: Path, stdout: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "epbt_optuna", "watch", str(path), "--interval", "0.1"]
    return subprocess.Popen(command, cwd=ROOT, stdout=stdout, env={**os.environ, "TERM": "xterm"})


def read_until(stream: int, text: bytes) -> bytes:
    seen = b""
    deadline = time.monotonic() + SECONDS
    while text not in seen and time.monotonic() < deadline:
        if select.select([stream], [], [], 0.5)[0]:
            seen += os.read(stream, 65536)
    assert text in seen
    return seen


@pytest.mark.parametrize("is_terminal", [True, False])
def test_it_follows_a_study_until_control_c_which_is_no_failure(
    tmp_path: Path, is_terminal: bool
) -> None:
    study = begun(tmp_path)
    ours, theirs = pty.openpty() if is_terminal else os.pipe()
    process = watching(tmp_path / "study.log", theirs)
    try:
        read_until(ours, b"no trials yet" if is_terminal else b"toy")
        run_trials(study, 4)
        seen = read_until(ours, b"trial 3")
        run_trials(study, 1)
        assert (b"\x1b[2K" in read_until(ours, b"trial 4")) == is_terminal, "drawn over"
        assert (b"population" in seen) == is_terminal
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)
