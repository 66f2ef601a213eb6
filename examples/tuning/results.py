"""Result files: one a task, with a line of JSON for each job; see `examples.paper.results`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from examples.paper import ExperimentError
from examples.paper.results import AnyJob, Record, check_settings, key_of, read_records
from examples.paper.results import results_file as results_file
from examples.tuning.arms import Arm, arms_of
from examples.tuning.tasks import TASKS, CNNTask, PPOTask

FIRST_CHOOSING_SEED = 1_000
"""From here on seeds are for choosing settings; what is reported has seeds below, run once."""


class Job(AnyJob[CNNTask | PPOTask, Arm]):
    """One arm of one task on one seed."""


class Incumbent(NamedTuple):
    """The network that an arm would choose after so many steps and seconds.

    Attributes:
        n_steps: Trained so far, by all networks together.
        seconds: Since the job began, testing left out.
        validation: What it was chosen by.
        test: What is reported.
    """

    n_steps: int
    seconds: float
    validation: float
    test: float


@dataclass(frozen=True)
class Result:
    """What a job left.

    Attributes:
        arm: The arm's name.
        seed: The seed.
        incumbents: In order; the last one is the arm's choice.
        seconds: Of the whole job, testing left out.
        schedule: What the arm's choice was trained with, step by step.
        record: The whole line.
    """

    arm: str
    seed: int
    incumbents: Sequence[Incumbent]
    seconds: float
    schedule: Sequence[dict[str, float]]
    record: Record

    @property
    def test(self) -> float:
        """What the arm's choice measures."""
        return self.incumbents[-1].test

    @property
    def validation(self) -> float:
        """What the arm's choice was chosen by."""
        return self.incumbents[-1].validation

    def test_at(self, *, n_steps: float = float("inf"), seconds: float = float("inf")) -> float:
        """Return what the arm would have chosen after so many steps or seconds; NaN before any."""
        tests = [i.test for i in self.incumbents if i.n_steps <= n_steps and i.seconds <= seconds]
        return tests[-1] if tests else float("nan")


def read_results(results: Path, task: str) -> list[Result]:
    """Read all results of a task, by arm and seed.

    Raises:
        ExperimentError: A line is foreign: of another task, arm or settings.
    """
    path = results_file(results, task)
    records = read_records(path)
    return [read_result(path, task, records[key]) for key in sorted(records)]


def read_result(path: Path, task: str, record: Record) -> Result:
    arm, seed = key_of(record)
    place = f"{arm}-seed{seed} in {path}"
    known = arms_of(task)
    if arm not in known:
        raise ExperimentError(f"{place} is of an arm that task {task!r} does not have.")
    check_settings(place, record["settings"], Job(TASKS[task], arm, known[arm], seed))
    try:
        return Result(
            arm,
            seed,
            [Incumbent(*incumbent) for incumbent in record["incumbents"]],
            record["seconds"],
            record["schedule"],
            record,
        )
    except (KeyError, TypeError) as error:
        raise ExperimentError(f"{place} is not a result: it lacks {error}.") from error


def reported(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Return results by arm, of seeds that no setting was chosen on."""
    return by_arm([r for r in results if r.seed < FIRST_CHOOSING_SEED])


def for_choosing(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Return results by arm, of seeds for choosing settings."""
    return by_arm([r for r in results if r.seed >= FIRST_CHOOSING_SEED])


def by_arm(results: Sequence[Result]) -> dict[str, list[Result]]:
    arms: dict[str, list[Result]] = {}
    for result in results:
        arms.setdefault(result.arm, []).append(result)
    return arms
