"""The log of steps: what is best so far is tested, once; half a line is dropped."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from examples.paper import ExperimentError
from examples.tuning.learners import State
from examples.tuning.steps import Snapshot, StepLog


def snapshot_of(score: float) -> Snapshot:
    return Snapshot({"score": score}, [{"x": score}])


def opposite(state: State) -> float:
    return float(-state["score"])


def fill(log: StepLog, validations: list[float]) -> None:
    for number, validation in enumerate(validations):
        log.add(number, 0, validation, float(number), partial(snapshot_of, validation))


def test_only_the_best_so_far_is_tested_and_of_equals_the_latest(tmp_path: Path) -> None:
    log = StepLog(tmp_path / "steps", 9, opposite)
    fill(log, [1.0, 0.5, 1.0, 3.0, 2.0])
    assert [step.number for step in log.incumbents()] == [0, 2, 3]
    assert [step.test for step in log.steps] == [-1.0, None, -1.0, -3.0, None]
    assert log.incumbents()[-1].schedule == [{"x": 3.0}]


def test_a_log_is_read_back_and_a_step_that_comes_again_counts_once(tmp_path: Path) -> None:
    fill(StepLog(tmp_path / "steps", 9, opposite), [1.0, 2.0])
    again = StepLog(tmp_path / "steps", 9, opposite)
    fill(again, [1.0, 2.0, 3.0])
    assert [step.validation for step in again.steps] == [1.0, 2.0, 3.0]
    assert StepLog(tmp_path / "steps", 9, opposite).steps == again.steps


def test_half_a_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "steps"
    fill(StepLog(path, 9, opposite), [1.0, 2.0])
    path.write_bytes(path.read_bytes()[:-5])
    log = StepLog(path, 9, opposite)
    assert len(log.steps) == 1
    fill(log, [1.0, 2.0])
    assert [step.number for step in StepLog(path, 9, opposite).steps] == [0, 1]


def test_one_step_too_many_is_an_error(tmp_path: Path) -> None:
    log = StepLog(tmp_path / "steps", 2, opposite)
    fill(log, [1.0, 2.0])
    assert log.full
    with pytest.raises(ExperimentError, match="has all 2 steps"):
        log.add(2, 0, 3.0, 3.0, lambda: snapshot_of(3.0))
