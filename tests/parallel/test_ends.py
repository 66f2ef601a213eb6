"""Runs that end early: Ctrl-C, once, twice and thrice, and a driver that is killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from optuna.trial import TrialState

from epbt_optuna import EPBTSampler
from epbt_optuna.journal import JournalLock
from epbt_optuna.parallel import optimize
from epbt_optuna.parallel.interrupts import Interrupts
from epbt_optuna.parallel.optimize import EngineName
from tests.parallel.program import N_GENERATIONS
from tests.parallel.runs import (
    RULES,
    is_there,
    journal_study,
    quick,
    release,
    trials_in,
    wait_until,
)
from tests.replay import check_lineage

ROOT = Path(__file__).parents[2]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the program with two workers and wait until both run a trial, which is held."""
    started: list[subprocess.Popen[str]] = []

    def start_program(engine: str) -> subprocess.Popen[str]:
        program = subprocess.Popen(
            [sys.executable, "-m", "tests.parallel.program", engine, str(tmp_path)],
            cwd=ROOT,
            start_new_session=True,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(program)
        wait_until(lambda: len(trials_in(tmp_path)) == 2 or program.poll() is not None)
        return program

    yield start_program
    for program in started:
        with program:
            if program.poll() is None:
                os.killpg(program.pid, signal.SIGKILL)


def press_ctrl_c(program: subprocess.Popen[str]) -> None:
    """Send what a terminal sends: the signal to the program and all its children."""
    os.killpg(program.pid, signal.SIGINT)


def check_resumes(folder: Path) -> None:
    """Check that nothing is half recorded, and that the same call brings the run to its end."""
    study = journal_study(folder / "log")
    assert not study.get_trials(states=(TrialState.RUNNING, TrialState.WAITING))
    optimize(study, quick, n_generations=N_GENERATIONS, workers=2, engine="thread")
    assert isinstance(study.sampler, EPBTSampler)
    assert len(study.trials) == study.sampler.n_trials(N_GENERATIONS)
    check_lineage(study.trials, RULES)


def test_ctrl_c_fails_what_processes_run_and_leaves_nobody_behind(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    program = start("process")
    press_ctrl_c(program)
    _, errors = program.communicate()
    assert program.returncode == -signal.SIGINT, errors
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert not any(map(is_there, trials_in(tmp_path).values()))
    states = [trial.state for trial in journal_study(tmp_path / "log").trials]
    assert states == [TrialState.FAIL, TrialState.FAIL]
    check_resumes(tmp_path)


def test_ctrl_c_lets_threads_finish_what_they_run(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    program = start("thread")
    press_ctrl_c(program)
    assert program.stderr is not None
    assert any("ending 2 running trials" in line for line in iter(program.stderr.readline, ""))
    release(tmp_path)
    _, errors = program.communicate()
    assert program.returncode == -signal.SIGINT, errors
    states = [trial.state for trial in journal_study(tmp_path / "log").trials]
    assert states == [TrialState.COMPLETE, TrialState.COMPLETE]
    check_resumes(tmp_path)


def test_a_second_ctrl_c_fails_what_threads_run(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    program = start("thread")
    press_ctrl_c(program)
    assert program.stderr is not None
    assert any(
        "Once more to fail them at once" in line for line in iter(program.stderr.readline, "")
    )
    press_ctrl_c(program)
    study = journal_study(tmp_path / "log")
    wait_until(lambda: all(trial.state == TrialState.FAIL for trial in study.trials))
    assert all(map(is_there, trials_in(tmp_path).values()))  # a thread cannot be killed...
    release(tmp_path)
    program.communicate()
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL, TrialState.FAIL]  # ... but what it tells comes too late
    check_resumes(tmp_path)


@pytest.mark.parametrize("engine", ["thread", "process"])
def test_an_interrupt_while_a_run_is_being_ended_ends_it_as_an_interrupt(
    tmp_path: Path, engine: EngineName
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    study = journal_study(tmp_path / "log")
    with pytest.raises(KeyboardInterrupt):
        optimize(study, quick, 4, workers=2, engine=engine, callbacks=[interrupt])
    check_resumes(tmp_path)


def test_workers_end_when_their_driver_is_killed(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    program = start("process")
    workers = set(trials_in(tmp_path).values())
    assert len(workers) == 2
    assert all(map(is_there, workers))
    program.kill()
    wait_until(lambda: not any(map(is_there, workers)))


def test_ctrl_c_is_held_back_until_it_is_let_through() -> None:
    reached = []
    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts:  # noqa: PT012, its point
        signal.raise_signal(signal.SIGINT)
        reached.append("the end of what must not be interrupted")
        with interrupts.let_through():
            reached.append("more")
    assert reached == ["the end of what must not be interrupted"]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_that_was_never_let_through_comes_at_the_end() -> None:
    with pytest.raises(KeyboardInterrupt), Interrupts():
        signal.raise_signal(signal.SIGINT)


def test_a_handler_of_the_users_own_is_left_alone() -> None:
    pressed = []
    previous = signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        with Interrupts():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert pressed == [True]


def press_and_wait(process: int) -> None:
    """Press Ctrl-C for one process, and wait until the system has handed it over.

    Two that wait would be one.
    """
    os.kill(process, signal.SIGINT)
    wait_until(lambda: not has_signal(process, "ShdPnd", "SigPnd"))


def has_signal(process: int, *masks: str) -> bool:
    """Return whether SIGINT is in one of these masks of a process; none has any when it is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return False
    fields = dict(line.split(":", 1) for line in lines)
    return any(int(fields.get(mask, "0"), 16) >> (signal.SIGINT - 1) & 1 for mask in masks)


def test_the_third_ctrl_c_ends_a_program_that_hangs_in_c(tmp_path: Path) -> None:
    """A lock of SQLite is waited for in C, where no handler in Python comes to run."""
    path = tmp_path / "study.db"
    hang = (
        "import sqlite3, sys; from epbt_optuna.parallel.interrupts import Interrupts\n"
        "connection = sqlite3.connect(sys.argv[1], timeout=600)\n"
        "with Interrupts():\n"
        "    print(flush=True); connection.execute('BEGIN IMMEDIATE')"
    )
    with closing(sqlite3.connect(path)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with subprocess.Popen(
            [sys.executable, "-c", hang, str(path)], cwd=ROOT, stdout=subprocess.PIPE
        ) as program:
            assert program.stdout is not None
            program.stdout.readline()
            press_and_wait(program.pid)
            press_and_wait(program.pid)
            wait_until(lambda: not has_signal(program.pid, "SigCgt"))
            assert program.poll() is None, "the second is for what can still be recorded"
            os.kill(program.pid, signal.SIGINT)
            assert program.wait() == -signal.SIGINT


def test_the_third_ctrl_c_ends_a_run_whose_storage_hangs_and_leaves_nobody_behind(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    program = start("process")
    lock = JournalLock(tmp_path / "log")
    lock.acquire()
    try:
        press_and_wait(program.pid)
        press_and_wait(program.pid)
        wait_until(lambda: not has_signal(program.pid, "SigCgt"))
        os.kill(program.pid, signal.SIGINT)
        program.communicate()
        assert program.returncode == -signal.SIGINT
        wait_until(lambda: not any(map(is_there, trials_in(tmp_path).values())))
    finally:
        lock.release()


def test_after_a_run_ctrl_c_is_what_it_was() -> None:
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    n_threads = threading.active_count()
    with Interrupts():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.set_wakeup_fd(before) == before
    assert threading.active_count() == n_threads
