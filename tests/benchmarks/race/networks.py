"""What is trained: one network, or several as one, with the same data, steps and measures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from epbt_optuna import restore_optimizer
from examples.label_noise import Part
from examples.paper.configs import Config
from examples.paper.data import make_split
from examples.paper.genomes import loss_of
from examples.paper.stopwatch import Stopwatch
from examples.paper.training import Workbench, set_sgd

EVALUATION_BATCH = 2_048


@dataclass(frozen=True)
class Task:
    """What is learnt; small, so that it is sent to processes, which then load the data once.

    Attributes:
        config: Data, network and budget.
        seed: Of everything.
        data: The folder of data sets.
    """

    config: Config
    seed: int
    data: Path

    @property
    def bench(self) -> Workbench:
        """The data and the settings of training."""
        return _bench(self)


@lru_cache(maxsize=1)
def _bench(task: Task) -> Workbench:
    split = make_split(task.config, task.seed, task.data)
    return Workbench(task.config, task.seed, split, Stopwatch())


class Score(NamedTuple):
    """Accuracies: on validation images, whose labels may be wrong, and on clean test images."""

    validation: float
    test: float


class Network:
    """A network that trains one generation after the other, as Algorithm 1 has it.

    Args:
        bench: Data and settings.
        number: Decides its first weights and its batches.
        state: What it goes on from; None for a founder.
    """

    def __init__(self, bench: Workbench, number: int, state: Mapping[str, Any] | None) -> None:
        self._bench, self._number = bench, number
        self.network = bench.network(number)
        self.optimizer = bench.optimizer(self.network)
        if state is not None:
            self.network.load_state_dict(state["model"])
            restore_optimizer(self.optimizer, state["optimizer"])

    def train(self, theta: Mapping[str, float], generation: int) -> Score:
        """Train the epochs of a generation with a loss, and measure."""
        bench = self._bench
        loss_fn = loss_of(theta, bench.n_samples, "cpu")
        for epoch in epochs_of(generation, bench.config):
            set_sgd(self.optimizer, lr=bench.learning_rate(epoch))
            generator = bench.generator(self._number, epoch)
            bench.train_epoch(self.network, self.optimizer, loss_fn, bench.split.train, generator)
        return Score(bench.validation_accuracy(self.network), bench.test_accuracy(self.network))

    @property
    def state(self) -> dict[str, Any]:
        """What an offspring goes on from."""
        return {"model": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}


def epochs_of(generation: int, config: Config) -> list[float]:
    return [epoch for epoch, _ in config.passes(generation)]


def batches(bench: Workbench, number: int, epoch: float) -> Iterator[Part]:
    """Return an epoch of batches that all members of a stack share."""
    images, labels = bench.split.train
    generator = bench.generator(number, epoch)
    for batch in torch.randperm(len(labels), generator=generator).split(bench.config.batch_size):
        yield images[batch], labels[batch]


@torch.no_grad()
def accuracies(stack: nn.Module, part: Part) -> Tensor:
    """Return each member's share of images whose class gets the greatest output, shape (P,)."""
    stack.eval()
    n_right = [
        (stack(images).argmax(-1) == labels).sum(-1)
        for images, labels in zip(*(t.split(EVALUATION_BATCH) for t in part), strict=True)
    ]
    return torch.stack(n_right).sum(0) / len(part[1])


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Compute with so many threads of torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
