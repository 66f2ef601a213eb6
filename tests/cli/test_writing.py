"""`epbt collect` and `epbt running`: what they change, and that they say so."""

from __future__ import annotations

import os
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from epbt_optuna import CheckpointError, CheckpointStore, EPBTSampler
from tests.cli.conftest import Epbt, open_journal, train


@pytest.fixture
def checkpoints(tmp_path: Path) -> Path:
    """The checkpoints of `tmp_path / "study.log"`; nobody retries trial 5, which failed."""
    return tmp_path / "checkpoints"


@pytest.fixture
def study(tmp_path: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> optuna.Study:
    monkeypatch.setattr("epbt_optuna.cli._collect.RETRY_SECONDS", 0)
    return train(open_journal(tmp_path / "study.log"), checkpoints)


def reopened(study: optuna.Study, tmp_path: Path) -> optuna.Study:
    return optuna.load_study(
        study_name=study.study_name, storage=open_journal(tmp_path / "study.log")
    )


def test_what_nobody_needs_is_removed_and_reported_with_its_size(
    epbt: Epbt, tmp_path: Path, checkpoints: Path, study: optuna.Study
) -> None:
    sizes = {path: path.stat().st_size for path in checkpoints.iterdir()}
    journal = (tmp_path / "study.log").read_bytes()
    planned = epbt("collect", tmp_path / "study.log", checkpoints, "--dry-run")
    assert sizes.keys() == set(checkpoints.iterdir())
    done = epbt("collect", tmp_path / "study.log", "toy", checkpoints)
    assert done.exit_code == 0
    assert planned.stdout.removeprefix("To be removed") == done.stdout.removeprefix("Removed")

    freed = sum(size for path, size in sizes.items() if not path.exists())
    assert "the checkpoints of 8 trials (0–7)" in done.stdout  # M_4 is 8 to 11
    assert f"{freed / 1000:.3g} kB" in done.stdout
    store = CheckpointStore(checkpoints)
    assert [store.load(study.trials[n])["number"] for n in (8, 9, 10, 11)] == [8, 9, 10, 11]
    with pytest.raises(CheckpointError):
        store.load(study.trials[7])
    assert epbt("collect", tmp_path / "study.log", checkpoints).stdout == "Removed: nothing.\n"
    assert (tmp_path / "study.log").read_bytes() == journal


@pytest.mark.usefixtures("study")
def test_with_keep_all_only_what_crashed_writers_left_goes(
    epbt: Epbt, tmp_path: Path, checkpoints: Path
) -> None:
    recorded = set(checkpoints.iterdir())
    prefix = next(iter(recorded)).name.split("-0000")[0]
    left_behind = checkpoints / f"{prefix}-000003-{'f' * 32}.pt"
    left_behind.write_bytes(bytes(123))
    an_hour_ago = time.time() - 3700
    os.utime(left_behind, (an_hour_ago, an_hour_ago))
    result = epbt("collect", tmp_path / "study.log", checkpoints, "--keep", "all")
    assert result.stdout == "Removed: 1 files that crashed writers left behind, 123 bytes.\n"
    assert set(checkpoints.iterdir()) == recorded


@pytest.mark.usefixtures("study")
def test_a_folder_that_is_not_the_studys_is_left_alone(epbt: Epbt, tmp_path: Path) -> None:
    missing = epbt("collect", tmp_path / "study.log", tmp_path / "nowhere")
    assert (missing.exit_code, missing.stderr) == (
        1,
        f"Error: There is no folder {tmp_path / 'nowhere'}.\n",
    )
    assert not (tmp_path / "nowhere").exists()
    wrong = epbt("collect", tmp_path / "study.log", tmp_path)
    assert wrong.exit_code == 1
    assert "has none of the 12 checkpoints of study 'toy'" in wrong.stderr
    assert epbt("collect", tmp_path / "study.log", "toy", "a", "b").exit_code == 2


def leave_running(study: optuna.Study, n: int) -> list[int]:
    """Ask trials that nobody ends, as a killed process leaves them."""
    trials = [study.ask() for _ in range(n)]
    for trial in trials:
        trial.suggest_float("theta_0", -10, 10)
        trial.report(0.5, 0)
    return [trial.number for trial in trials]


def test_running_trials_are_listed_and_left_alone(
    epbt: Epbt, tmp_path: Path, study: optuna.Study
) -> None:
    assert epbt("running", tmp_path / "study.log").stdout == "toy: 0 trials running\n"
    leave_running(study, 2)
    before = (tmp_path / "study.log").read_bytes()
    lines = epbt("running", tmp_path / "study.log").stdout.splitlines()
    assert lines[0] == "toy: 2 trials running"
    assert [line.split()[:2] for line in lines[2:]] == [["12", "5"], ["13", "5"]]
    assert (tmp_path / "study.log").read_bytes() == before


def test_running_trials_can_be_failed_one_by_one_or_all(
    epbt: Epbt, tmp_path: Path, study: optuna.Study
) -> None:
    leave_running(study, 3)
    one = epbt("running", tmp_path / "study.log", "--fail", "--trial", 13)
    assert one.stdout == "Failed: 13.\n"
    states = [trial.state for trial in reopened(study, tmp_path).trials[12:]]
    assert states == [TrialState.RUNNING, TrialState.FAIL, TrialState.RUNNING]
    assert epbt("running", tmp_path / "study.log", "--fail").stdout == "Failed: 12, 14.\n"
    nothing = epbt("running", tmp_path / "study.log", "--fail")
    assert nothing.stdout == "Study 'toy' has no running trials.\n"


def test_a_resumed_trial_is_queued_with_its_params_and_its_parent(
    epbt: Epbt, tmp_path: Path, study: optuna.Study
) -> None:
    (number,) = leave_running(study, 1)
    result = epbt("running", tmp_path / "study.log", "--resume")
    assert result.stdout == f"Failed, and queued to be trained again: {number}.\n"
    resumed = optuna.load_study(
        study_name="toy",
        storage=open_journal(tmp_path / "study.log"),
        sampler=EPBTSampler(4, n_elites=2, seed=0),
    )
    assert resumed.trials[number].state == TrialState.FAIL
    retry = resumed.ask()
    assert retry.number == number + 1
    assert retry.params == resumed.trials[number].params
    parents = [resumed.trials[n].system_attrs["epbt:lineage"]["parent"] for n in (12, 13)]
    assert parents[0] == parents[1]


def test_only_running_trials_can_be_ended(epbt: Epbt, tmp_path: Path, study: optuna.Study) -> None:
    leave_running(study, 1)
    before = (tmp_path / "study.log").read_bytes()
    for number, message in (
        (3, "Trial 3 is not running but COMPLETE."),
        (99, "There is no trial 99 in study 'toy', which has 13 trials."),
    ):
        result = epbt("running", tmp_path / "study.log", "--fail", "--trial", 12, "--trial", number)
        assert (result.exit_code, result.stderr) == (1, f"Error: {message}\n")
    assert (tmp_path / "study.log").read_bytes() == before
