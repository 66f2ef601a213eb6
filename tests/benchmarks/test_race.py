"""Time to accuracy: every arm runs, the clock follows the chosen network, and jobs are run once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from examples.paper.configs import config_named
from tests.benchmarks.page import JSON, PAGE
from tests.benchmarks.race import __main__ as command
from tests.benchmarks.race.arms import ARMS
from tests.benchmarks.race.clock import Clock
from tests.benchmarks.race.jobs import read_lines, run_apart, run_job
from tests.benchmarks.race.networks import Task
from tests.benchmarks.table import Figure, read_tables

CONFIG = replace(
    config_named("digits-noisy"), population_size=4, n_generations=2, epochs_per_generation=1
)


def task(tmp_path: Path) -> Task:
    return Task(CONFIG, seed=0, data=tmp_path)


def curve_of(arm: str, tmp_path: Path, accuracy: float = 1.1) -> list[Any]:
    clock = Clock(accuracy, max_epochs=CONFIG.n_epochs_of_epbt)
    ARMS[arm].run(task(tmp_path), clock, tmp_path)
    assert clock.is_over
    return clock.curve


@pytest.mark.parametrize("arm", ["loop", "processes", "batched", "tpe"])
def test_an_arm_goes_on_until_its_epochs_are_spent(arm: str, tmp_path: Path) -> None:
    validations = [point[2] for point in curve_of(arm, tmp_path)]
    assert validations == sorted(validations)
    assert validations[-1] > 0.2


@pytest.mark.xdist_group("ray")
def test_ray_tune_goes_on_until_its_epochs_are_spent(tmp_path: Path) -> None:
    lines = tmp_path / "lines.jsonl"
    run_apart(task(tmp_path), "ray", 1.1, lines)
    (line,) = read_lines(lines, CONFIG, 1.1)
    assert line["seconds"] is None
    assert line["curve"][-1][2] > 0.2


@pytest.mark.parametrize("arm", ["loop", "batched", "tpe"])
def test_an_arm_ends_when_the_accuracy_is_reached(arm: str, tmp_path: Path) -> None:
    (point,) = curve_of(arm, tmp_path, accuracy=0.0)
    assert point[1] == 1


def test_the_first_network_learns_the_same_in_a_loop_and_in_a_batch(tmp_path: Path) -> None:
    curves = []
    for arm in ("loop", "batched"):
        (tmp_path / arm).mkdir()
        curves.append(curve_of(arm, tmp_path / arm)[0][2:])
    assert curves[0] == pytest.approx(curves[1])


def test_the_clock_follows_the_network_that_validation_chooses() -> None:
    clock = Clock(accuracy=0.9, max_epochs=100)
    clock.start()
    over = []
    for validation, test in (
        (0.5, 0.6),
        (0.4, 0.95),  # nobody would choose it
        (0.5, 0.9),  # the later of equals
        (0.6, 0.1),  # after the end
    ):
        clock.see(validation, test, n_epochs=3)
        over.append(clock.is_over)
    assert over == [False, False, True, True]
    assert [point[1:] for point in clock.curve] == [(3, 0.5, 0.6), (9, 0.5, 0.9)]
    assert clock.epochs == 9
    assert clock.seconds == clock.curve[-1][0]


def test_the_clock_gives_up_when_the_epochs_are_spent() -> None:
    clock = Clock(accuracy=0.9, max_epochs=6)
    for _ in range(2):
        clock.see(validation=0.5, test=0.6, n_epochs=3)
    assert clock.is_over


def test_a_job_that_has_its_line_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = []

    def run_here(task: Task, arm: str, accuracy: float, lines: Path) -> None:
        jobs.append((arm, task.seed))
        run_job(task, arm, accuracy, lines)

    monkeypatch.setattr(command, "run_apart", run_here)
    places = ["--data", str(tmp_path), "--lines", str(tmp_path / "a.jsonl"), "--folder"]
    arguments = ["digits-noisy", "--quick", "--arms", "loop", *places, str(tmp_path), "--seeds"]
    command.main([*arguments, "1"])
    command.main([*arguments, "2"])
    command.main([*arguments, "2"])
    assert jobs == [("loop", 0), ("loop", 1)]
    command.main([*arguments, "2", "--accuracy", "0.01"])  # another question
    assert len(jobs) == 4
    table = read_tables(tmp_path / JSON)["time-to-accuracy-digits-noisy"]
    wall, _, reached = table.cases
    assert wall.figures["EPBT in a loop"].n == 2
    assert reached.figures["EPBT in a loop"].median == 2
    assert "1 % of clean test images are right" in (tmp_path / PAGE).read_text()


def test_a_seed_that_did_not_reach_the_accuracy_took_forever() -> None:
    lines = [
        {
            **{"config": "digits-noisy", "accuracy": 0.93, "arm": arm, "seed": seed},
            **{"seconds": seconds, "epochs": seconds and 10, "date": "2026-01-02"},
            **{"machine": {}, "versions": {}},
        }
        for arm, own in {"loop": [1.0, 2.0, None], "ray": [4.0, None, None]}.items()
        for seed, seconds in enumerate(own)
    ]
    table = command.table_of(json.loads(json.dumps(lines)))
    wall, epochs, reached = table.cases
    ours, rays = wall.figures
    assert wall.figures[ours] == Figure(2.0, 1.0, None, 3)
    assert wall.figures[rays] == Figure(None, 4.0, None, 3)
    assert table.ratio(wall, ours) is None
    assert epochs.figures[ours].median == 10
    assert (reached.figures[ours].median, reached.figures[rays].median) == (2, 1)
    assert table.ratio(reached, ours) is None
