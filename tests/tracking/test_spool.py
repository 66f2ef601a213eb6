"""What is between training and the courier: a file, and what a trial becomes."""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna.population import Generations
from epbt_optuna.tracking import MLflowTracker
from epbt_optuna.tracking._runs import TrialRun, batches
from epbt_optuna.tracking._spool import Spool, SpoolReader

START = datetime(2026, 1, 1)


def trial(**changes: object) -> FrozenTrial:
    frozen = optuna.create_trial(
        value=0.5,
        params={"x": 0.25},
        distributions={"x": FloatDistribution(0, 1)},
        intermediate_values={0: 0.1, 5: 0.3},
    )
    frozen.datetime_start, frozen.datetime_complete = START, START + timedelta(seconds=10)
    for name, value in changes.items():
        setattr(frozen, name, value)
    return frozen


def test_what_was_appended_is_read_in_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    reader = SpoolReader(tmp_path / "spool")
    assert reader.next() is None
    for item in (1, "two", [3] * 1000):
        spool.append(item)
    spool.close()
    assert [reader.next() for _ in range(4)] == [1, "two", [3] * 1000, None]


def test_what_is_not_all_there_yet_is_waited_for(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "whole")
    spool.append("one")
    spool.append("two")
    spool.close()
    data = (tmp_path / "whole").read_bytes()
    torn = tmp_path / "torn"
    for n_bytes in range(len(data) + 1):
        torn.write_bytes(data[:n_bytes])
        reader = SpoolReader(torn)
        items = [reader.next(), reader.next()]
        whole = len(data) // 2
        assert items == [*["one", "two"][: n_bytes // whole], None, None][:2]


def test_reports_are_spread_evenly_over_the_trial_and_fitness_is_at_its_end() -> None:
    points = TrialRun(trial(), generations=None).points
    start = int(START.timestamp() * 1000)
    assert [(p.key, p.step, p.value, p.timestamp - start) for p in points] == [
        ("intermediate_value", 0, 0.1, 5_000),
        ("intermediate_value", 5, 0.3, 10_000),
        ("fitness", 5, 0.5, 10_000),
    ]


def test_a_trial_that_did_not_complete_has_no_fitness() -> None:
    content = TrialRun(trial(state=TrialState.PRUNED), generations=None)
    assert {point.key for point in content.points} == {"intermediate_value"}
    assert content.status == "KILLED"


def test_a_trial_whose_lineage_was_not_recorded_still_has_its_generation() -> None:
    """Its process was killed between the two."""
    content = TrialRun(trial(number=7, state=TrialState.FAIL), Generations(6, 3))
    assert content.tags["epbt.generation"] == "1"
    assert "epbt.parent_trial" not in content.tags


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("lr", "lr"),
        ("optimizer/lr", "optimizer/lr"),
        ("/lr", "_lr"),
        ("a//b", "a__b"),
        ("..", "_"),
        ("θ₀ [1]", "θ₀ _1_"),
        ("x" * 300, "x" * 250),
    ],
)
def test_names_become_such_as_mlflow_takes(name: str, key: str) -> None:
    content = TrialRun(
        trial(_params={name: 0.5}, _distributions={name: FloatDistribution(0, 1)}), None
    )
    assert list(content.params) == [key]


def test_batches_have_at_most_their_size_and_lose_nothing() -> None:
    assert list(batches(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(batches([], 3)) == []


def test_a_tracker_can_be_pickled() -> None:
    tracker = MLflowTracker("http://localhost:5000", experiment="e", log_checkpoints=True)
    copy = pickle.loads(pickle.dumps(tracker))
    assert copy.__getstate__() == tracker.__getstate__()
    assert copy.__getstate__() == {
        "tracking_uri": "http://localhost:5000",
        "experiment": "e",
        "log_checkpoints": True,
        "pictures_every": 10,
    }
