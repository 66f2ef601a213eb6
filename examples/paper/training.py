"""Training and measuring one network, the same for every arm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from examples.label_noise import Part, Split
from examples.paper.configs import Config
from examples.paper.data import N_CLASSES, augment, shape_of
from examples.paper.losses import AnyLoss, loss_on
from examples.paper.models import make_network
from examples.paper.stopwatch import Stopwatch

Progress = Callable[[float], None]
"""Told how many epochs have been trained since it was last told."""

_EVALUATION_BATCH = 2_048


@dataclass(frozen=True)
class Workbench:
    """One config on one seed: its data on a device, and the stopwatch of the job.

    Attributes:
        config: What is learnt.
        seed: Decides data, weights and batches.
        split: The data, on the device.
        stopwatch: Charged with everything.
    """

    config: Config
    seed: int
    split: Split
    stopwatch: Stopwatch

    @property
    def device(self) -> torch.device:
        """Where the data is, and the networks are."""
        return self.split.train[0].device

    @property
    def n_samples(self) -> int:
        """How many images there are to train on."""
        return len(self.split.train[1])

    def generator(self, number: int, epoch: float) -> torch.Generator:
        """Return the random generator of one epoch of one individual, on the device."""
        return torch.Generator(self.device).manual_seed(self._random_state(number, 1 + int(epoch)))

    @cached_property
    def scratch(self) -> nn.Module:
        """A network to load weights into: making one anew takes as long as a short epoch."""
        return self.network(0)

    def network(self, number: int) -> nn.Module:
        """Make the network that founder `number` starts with; every arm's first is the same."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._random_state(number, 0))
            network = make_network(self.config.model, shape_of(self.split), N_CLASSES)
        return network.to(self.device)

    def _random_state(self, *key: int) -> int:
        return int(np.random.SeedSequence([self.seed, *key]).generate_state(1)[0])

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """Make SGD as the config has it."""
        config = self.config
        return torch.optim.SGD(
            network.parameters(), lr=config.learning_rate, momentum=config.momentum
        )

    def learning_rate(self, epoch: float) -> float:
        """Return the paper's: a tenth of the config's after half of the epochs and after 3/4."""
        progress = epoch / self.config.n_epochs
        return self.config.learning_rate * 0.1 ** ((progress >= 0.5) + (progress >= 0.75))

    def train_epoch(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss_fn: AnyLoss,
        part: Part,
        generator: torch.Generator,
        share: float = 1.0,
    ) -> None:
        """Train one epoch over a part of the data, in random order; or a share of an epoch."""
        with self.stopwatch.stage("train"):
            network.train()
            images, labels = part
            order = torch.randperm(len(labels), generator=generator, device=self.device)
            for batch in order[: round(share * len(order))].split(self.config.batch_size):
                inputs = images[batch]
                if self.config.augment:
                    inputs = augment(inputs, generator)
                optimizer.zero_grad()
                loss_on(loss_fn, network(inputs), labels[batch], batch).backward()
                optimizer.step()

    def validation_accuracy(self, network: nn.Module) -> float:
        """Measure on validation images, wrong labels and all: what arms choose by."""
        with self.stopwatch.stage("evaluate"):
            return float(accuracies(network, self.split.validation))

    def validation_accuracies(self, networks: nn.Module) -> Tensor:
        """Measure each network of a stack so."""
        with self.stopwatch.stage("evaluate"):
            return accuracies(networks, self.split.validation)

    def test_accuracy(self, network: nn.Module) -> float:
        """Measure on test data: for the record only, no arm sees it."""
        with self.stopwatch.stage("test"):
            return float(accuracies(network, self.split.test))


@torch.no_grad()
def accuracies(network: nn.Module, part: Part) -> Tensor:
    """Return the share of images whose class gets the greatest output; or of a stack, each's."""
    network.eval()
    n_right = [
        (network(images).argmax(-1) == labels).sum(-1)
        for images, labels in zip(*(t.split(_EVALUATION_BATCH) for t in part), strict=True)
    ]
    return torch.stack(n_right).sum(0).double() / len(part[1])


def set_sgd(optimizer: torch.optim.Optimizer, **hyperparameters: float | Tensor) -> None:
    """Set learning rate or momentum in every parameter group."""
    for group in optimizer.param_groups:
        group.update(hyperparameters)
