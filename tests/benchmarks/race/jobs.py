"""Jobs: one arm on one seed, in a process of its own, down to its line."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import asdict
from datetime import datetime, timezone
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from examples.paper.configs import Config
from tests.benchmarks.making import quiet
from tests.benchmarks.measure import machine, versions
from tests.benchmarks.race.arms import ARMS
from tests.benchmarks.race.clock import Clock
from tests.benchmarks.race.networks import Task


def run_apart(task: Task, arm: str, accuracy: float, lines: Path) -> None:
    """Run a job in a process of its own; a job that fails is an error, and leaves no line."""
    process = get_context("spawn").Process(target=_run_quietly, args=(task, arm, accuracy, lines))
    process.start()
    process.join()
    if process.exitcode != 0:
        raise RuntimeError(f"{arm} on seed {task.seed} ended with exit code {process.exitcode}.")


def _run_quietly(task: Task, arm: str, accuracy: float, lines: Path) -> None:
    quiet()
    run_job(task, arm, accuracy, lines)


def run_job(task: Task, arm: str, accuracy: float, lines: Path) -> None:
    """Run one arm on one seed, and append its line."""
    clock = Clock(accuracy, max_epochs=task.config.n_epochs_of_epbt)
    task.bench  # noqa: B018, loads the data before the clock starts
    with tempfile.TemporaryDirectory() as folder:
        ARMS[arm].run(task, clock, Path(folder))
    reached = math.isfinite(clock.seconds)
    line = {
        **_key(task.config, accuracy),
        "arm": arm,
        "seed": task.seed,
        "seconds": clock.seconds if reached else None,
        "epochs": clock.epochs if reached else None,
        "curve": clock.curve,
        "machine": machine(),
        "versions": versions(),
        "date": datetime.now(timezone.utc).date().isoformat(),
    }
    lines.parent.mkdir(parents=True, exist_ok=True)
    with lines.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read_lines(path: Path, config: Config, accuracy: float) -> list[dict[str, Any]]:
    """Read the lines of the jobs with these settings."""
    if not path.exists():
        return []
    key = _key(config, accuracy)
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if all(line[name] == value for name, value in key.items())]


def _key(config: Config, accuracy: float) -> dict[str, Any]:
    return {"settings": asdict(config), "config": config.name, "accuracy": accuracy}
