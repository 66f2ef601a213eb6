"""Every step that a job has trained, in a file that a kill leaves whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from examples.paper import ExperimentError
from examples.tuning.learners import Params, State


@dataclass(frozen=True)
class Snapshot:
    """A network after a step.

    Attributes:
        state: The network; empty before its first step.
        schedule: What it, and those whose weights it went on from, were trained with, step by step.
    """

    state: State
    schedule: list[dict[str, float]]

    def after(self, state: State, params: Params) -> Snapshot:
        """Return the snapshot after one more step."""
        return Snapshot(state, [*self.schedule, dict(params)])


@dataclass(frozen=True)
class Step:
    """One line of the file.

    Attributes:
        number: The network's or trial's.
        step: How many steps it had been trained before.
        seconds: Since the job began, all processes that ran it together, testing left out.
        validation: What arms choose by.
        test: Measured only where validation is the best so far: this is then the network that the
            arm would choose if it ended here. None elsewhere.
        schedule: Of that network; None elsewhere.
    """

    number: int
    step: int
    seconds: float
    validation: float
    test: float | None
    schedule: list[dict[str, float]] | None


class StepLog:
    """The steps of one job, in the order in which they were trained.

    Args:
        path: The file.
        budget: How many steps there may be.
        test: Measures a network; what it returns is written down and chosen by nowhere.
    """

    def __init__(self, path: Path, budget: int, test: Callable[[State], float]) -> None:
        self._path = path
        self._budget = budget
        self._test = test
        self.steps: list[Step] = []
        if path.exists():
            text = path.read_bytes()
            # A kill may have left half of a line. That step is trained again.
            whole = text[: text.rfind(b"\n") + 1]
            self.steps = [Step(**json.loads(line)) for line in whole.splitlines()]
            with path.open("r+b") as file:
                file.truncate(len(whole))
        self._keys = {(step.number, step.step) for step in self.steps}

    @property
    def full(self) -> bool:
        """Whether the budget is used up."""
        return len(self.steps) >= self._budget

    @property
    def seconds(self) -> float:
        """Until the last step."""
        return self.steps[-1].seconds if self.steps else 0.0

    def validations(self, number: int) -> list[float]:
        """Return what the steps of a network trained from scratch were worth."""
        return [step.validation for step in self.steps if step.number == number]

    def incumbents(self) -> list[Step]:
        """Return the steps with the best validation so far; the last one is the arm's choice."""
        return [step for step in self.steps if step.test is not None]

    def clear(self) -> None:
        """Forget all steps, for an arm that cannot go on in the middle."""
        self._path.unlink(missing_ok=True)
        self.steps.clear()
        self._keys.clear()

    def add(
        self,
        number: int,
        step: int,
        validation: float,
        seconds: float,
        snapshot: Callable[[], Snapshot],
    ) -> None:
        """Write a step down, and test its network where it is the best so far.

        A step that is there already was trained before a kill, and trained again because nothing
        later had been written. It is the same step, so it counts once.

        Args:
            number: The network's or trial's.
            step: How many steps it had been trained before.
            validation: What arms choose by; of equals the latest is chosen.
            seconds: Of the job so far.
            snapshot: Returns the network.

        Raises:
            ExperimentError: The budget is used up.
        """
        if (number, step) in self._keys:
            return
        if self.full:
            raise ExperimentError(f"{self._path} has all {self._budget} steps, but one more came.")
        best = self.incumbents()
        test = schedule = None
        if not best or validation >= best[-1].validation:
            network = snapshot()
            test, schedule = self._test(network.state), network.schedule
        new = Step(number, step, round(seconds, 4), validation, test, schedule)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(new)) + "\n")
        self.steps.append(new)
        self._keys.add((number, step))


def last_schedule(log: StepLog) -> list[dict[str, Any]]:
    """Return what the arm's choice was trained with, rounded to what is worth reading."""
    schedule = log.incumbents()[-1].schedule or []
    return [{name: float(f"{value:.6g}") for name, value in step.items()} for step in schedule]
