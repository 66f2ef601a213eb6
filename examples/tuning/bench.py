"""One job at work: its learner, its log of steps and its clock, the same for every arm."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import cos, pi

from optuna import Trial

from examples.paper.stopwatch import Stopwatch
from examples.paper.training import Progress
from examples.tuning.learners import Learner, Params
from examples.tuning.steps import Snapshot, StepLog
from examples.tuning.tasks import CNNTask, PPOTask


@dataclass
class Bench:
    """What an arm is given.

    Attributes:
        task: What is learnt.
        seed: The job's.
        learner: Trains and evaluates.
        log: Where every step goes.
        progress: Told of every step.
        stopwatch: Runs from the last step written down, tests left out.
    """

    task: CNNTask | PPOTask
    seed: int
    learner: Learner
    log: StepLog
    progress: Progress
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    def suggest(self, trial: Trial) -> dict[str, float]:
        """Return the trial's value of each variable."""
        return {
            v.name: trial.suggest_float(v.name, v.low, v.high, log=v.log)
            for v in self.task.variables
        }

    def train(
        self, before: Snapshot, params: Params, number: int, step: int, *, cosine: bool
    ) -> tuple[Snapshot, float]:
        """Train a network by one step; return it and what it is worth.

        Args:
            before: The network; one without steps is a fresh one.
            params: What it is trained with.
            number: The network's or trial's.
            step: How many steps it has been trained before, by the clock of its arm.
            cosine: Whether the learning rate is scaled by a cosine, which would be 0 at the end.
        """
        params = dict(params)
        if cosine:
            params["learning_rate"] *= (1 + cos(pi * step / self.task.n_steps)) / 2
        state = self.learner.train(before.state or None, params, (number, step))
        return before.after(state, params), self.learner.validate(state)

    def record(self, number: int, step: int, validation: float, snapshot: Snapshot) -> None:
        """Write a step down, with the time until now."""
        seconds = self.log.seconds + sum(self.stopwatch.lap().values())
        self.log.add(number, step, validation, seconds, lambda: snapshot)
        self.stopwatch.lap()  # testing is nobody's time
        self.progress(1)
