"""What a task does with one network: train it by a step, evaluate it. Arms know no more of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from examples.paper import ExperimentError
from examples.tuning.tasks import CNNTask, PPOTask

State: TypeAlias = dict[str, Any]
"""A network with its optimizer, such as `CheckpointStore` saves."""

Params: TypeAlias = Mapping[str, float]
"""A value of each of the task's variables."""


class Learner(Protocol):
    """A task on one seed."""

    def train(self, before: State | None, params: Params, key: tuple[int, int]) -> State:
        """Train a network by one step.

        Args:
            before: The network, which stays as it is; None for a fresh one.
            params: What it is trained with.
            key: All randomness, fresh weights included, comes from the seed and this.
        """

    def validate(self, state: State) -> float:
        """Return what arms choose by, the greater the better."""

    def test(self, state: State) -> float:
        """Return what is reported, of data or episodes that nothing is chosen by."""


@lru_cache(maxsize=1)
def make_learner(task: CNNTask | PPOTask, seed: int, data: Path) -> Learner:
    """Make the learner of a task on one seed; the last one is kept.

    Raises:
        ExperimentError: Its data is missing, or a package is.
    """
    try:
        if isinstance(task, CNNTask):
            from examples.tuning.cnn import CNNLearner

            return CNNLearner(task, seed, data)
        from examples.tuning.ppo import PPOLearner

        return PPOLearner(task, seed)
    except ImportError as error:
        raise ExperimentError(f"Task {task.name!r} needs a package: {error}.") from error


def random_state(*key: int) -> int:
    """Return a seed of 31 bits for what wants one."""
    return int(np.random.SeedSequence(key).generate_state(1)[0]) >> 1
