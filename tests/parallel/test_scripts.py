"""Runs of processes from every kind of program: they work, or say at once what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import optuna

from tests.parallel.runs import journal_study

ROOT = Path(__file__).parents[2]
HEAD = """
from pathlib import Path
import optuna
from epbt_optuna.parallel import optimize
from tests.parallel.runs import journal_study
def objective(trial):
    return trial.suggest_float("x", 0, 1)
"""
JOURNAL = "optimize(journal_study(Path('log')), objective, 3, devices=['cpu', 'cpu'])\n"
DATABASE = """
study = optuna.create_study(study_name="study", storage="sqlite:///study.db")
optimize(study, objective, 3, devices=["cpu"])
"""


def run(
    folder: Path, *arguments: str, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    return subprocess.run(
        [sys.executable, *arguments],
        input=stdin,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=folder,
        check=False,
    )


def saved(folder: Path, text: str) -> str:
    path = folder / "script.py"
    path.write_text(text)
    return str(path)


def test_a_script_that_does_not_guard_its_entry_point_is_told_once_what_to_do(
    tmp_path: Path,
) -> None:
    done = run(tmp_path, saved(tmp_path, HEAD + JOURNAL))
    assert done.returncode == 1
    assert done.stderr.count("A worker process imports this script") == 1
    assert "RuntimeError: A worker process imports this script" in done.stderr
    assert "under `if __name__ == '__main__':`" in done.stderr.splitlines()[-1]
    assert not journal_study(tmp_path / "log").trials


def test_a_script_that_cannot_be_imported_twice_is_imported_by_no_second_worker(
    tmp_path: Path,
) -> None:
    """It creates the study again, and so never comes to `optimize`."""
    done = run(tmp_path, saved(tmp_path, HEAD + DATABASE))
    assert done.returncode == 1
    assert done.stderr.count("DuplicatedStudyError: ") == 1
    assert "such as creating the study, belongs under `if __name__" in done.stderr.splitlines()[-1]


def test_a_script_of_another_programs_workers_is_refused_in_its_own_name(tmp_path: Path) -> None:
    script = "import multiprocessing\nif __name__ == '__main__':\n"
    script += "    process = multiprocessing.get_context('spawn').Process(target=print)\n"
    script += "    process.start(); process.join(); raise SystemExit(process.exitcode)\n"
    done = run(tmp_path, saved(tmp_path, HEAD + script + JOURNAL))
    assert done.returncode == 1
    assert "RuntimeError: A worker process imports this script" in done.stderr


def test_a_script_from_the_standard_input_is_told_before_the_first_trial(tmp_path: Path) -> None:
    guarded = f"if __name__ == '__main__':\n    {JOURNAL}"
    done = run(tmp_path, "-", stdin=HEAD + guarded)
    assert done.returncode == 1
    assert "Save the script to a file and run that, or use" in done.stderr.splitlines()[-1]
    assert not journal_study(tmp_path / "log").trials


def test_a_command_needs_no_file_as_its_objective_is_sent_by_value(tmp_path: Path) -> None:
    done = run(tmp_path, "-c", HEAD + JOURNAL)
    assert done.returncode == 0, done.stderr
    states = [trial.state for trial in journal_study(tmp_path / "log").trials]
    assert states == [optuna.trial.TrialState.COMPLETE] * 3
