"""A record never points to nothing, however long its writer slept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from epbt_optuna import CheckpointError, CheckpointStore
from epbt_optuna.checkpoints.artifacts import FolderArtifacts
from tests.checkpoints.test_collecting import HEX, make_study, run

DAY = 86_400  # seconds


def test_a_collector_does_not_sweep_what_a_writer_that_slept_has_just_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, checkpoints = make_study(), CheckpointStore(tmp_path)
    run(study, checkpoints, 1, 2, 3, 4)
    touch = FolderArtifacts.touch

    def sleep_for_a_day(self: FolderArtifacts, artifact: str) -> None:
        os.utime(tmp_path / artifact, (time.time() - DAY,) * 2)
        touch(self, artifact)
        assert checkpoints.collect(study, keep="all") == []

    monkeypatch.setattr(FolderArtifacts, "touch", sleep_for_a_day)
    trial = study.ask()
    checkpoints.save(trial, {"number": 4})
    assert checkpoints.load(trial) == {"number": 4}


MOMENTS = ["before it is touched", "before it is recorded", "before it is looked for"]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("saved_before", [False, True])
def test_bytes_that_go_while_they_are_recorded_leave_no_record_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, saved_before: bool
) -> None:
    study, checkpoints = make_study(), CheckpointStore(tmp_path)
    trial = study.ask()
    if saved_before:
        checkpoints.save(trial, {"number": "before"}, final=False)
    before = set(tmp_path.iterdir())

    def gone_before(method: Callable[..., Any]) -> Callable[..., Any]:
        def act(*arguments: Any) -> Any:
            for path in set(tmp_path.iterdir()) - before:
                path.unlink()
            return method(*arguments)

        return act

    owner, name = {
        MOMENTS[0]: (FolderArtifacts, "touch"),
        MOMENTS[1]: (type(study._storage), "set_trial_system_attr"),
        MOMENTS[2]: (FolderArtifacts, "holds"),
    }[moment]
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, gone_before(getattr(owner, name)))
        with pytest.raises(CheckpointError, match="trial 0"):
            checkpoints.save(trial, {"number": "after"})
    if saved_before:
        assert checkpoints.load(trial) == {"number": "before"}
    else:
        with pytest.raises(CheckpointError, match="saved no checkpoint"):
            checkpoints.load(trial)
    checkpoints.save(trial, {"number": "after"})
    assert checkpoints.load(trial) == {"number": "after"}


@pytest.mark.parametrize("n_looks", [0, 1, 2])
def test_a_writer_and_a_sweeping_collector_never_both_have_their_way(
    tmp_path: Path, n_looks: int
) -> None:
    """The writer records and looks again after so many looks of the collector at the record."""
    artifacts, name = FolderArtifacts(tmp_path), f"epbt-{'0' * 12}-000000-{HEX}.pt"
    (tmp_path / name).write_bytes(b"just written")
    looks, is_recorded, is_there = 0, False, None

    def collector_looks() -> bool:
        nonlocal looks, is_recorded, is_there
        if looks == n_looks:
            is_recorded, is_there = True, artifacts.holds(name)
            is_recorded = is_there  # else the writer takes the record back
        looks += 1
        return is_recorded

    artifacts.sweep(name, collector_looks)
    if is_there is None:
        is_recorded = is_there = artifacts.holds(name)
    assert is_recorded == is_there == artifacts.holds(name)
    assert [*tmp_path.iterdir()] == ([tmp_path / name] if is_there else [])


def test_what_cannot_be_looked_up_in_the_study_stays_where_it_is(tmp_path: Path) -> None:
    artifacts, name = FolderArtifacts(tmp_path), f"epbt-{'0' * 12}-000000-{HEX}.pt"
    (tmp_path / name).write_bytes(b"just written")
    answers: Iterator[bool] = iter([False])
    with pytest.raises(StopIteration):
        artifacts.sweep(name, lambda: next(answers))
    assert artifacts.holds(name)
