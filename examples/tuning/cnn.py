"""A small convolutional network on Fashion-MNIST, under six hyperparameters."""

from __future__ import annotations

from copy import deepcopy
from math import ceil
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812, PyTorch's own name for it

from epbt_optuna import restore_optimizer
from examples.paper.configs import Config
from examples.paper.data import N_CLASSES, make_split, shape_of
from examples.paper.models import make_network
from examples.paper.training import accuracy
from examples.tuning.learners import Params, State, random_state
from examples.tuning.tasks import CNNTask


class CNNLearner:
    """The task on one seed.

    Args:
        task: Its sizes.
        seed: Decides which images are which, and with a step's key all else.
        data: Where Fashion-MNIST is, or is downloaded to.
    """

    def __init__(self, task: CNNTask, seed: int, data: Path) -> None:
        self._task = task
        self._seed = seed
        config = Config(
            task.name, "fashion-mnist", "cnn", task.n_validation, task.n_steps, task.n_train
        )
        self._split = make_split(config, seed, data)

    def train(self, before: State | None, params: Params, key: tuple[int, int]) -> State:
        """Train some epochs; see `Learner.train`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_state(self._seed, *key))
            network = self._make_network()
            optimizer = torch.optim.SGD(
                network.parameters(),
                lr=params["learning_rate"],
                momentum=params["momentum"],
                weight_decay=params["weight_decay"],
            )
            if before is not None:
                network.load_state_dict(before["network"])
                # Its moments would be changed in place.
                restore_optimizer(optimizer, deepcopy(before["optimizer"]))
            for _ in range(self._task.epochs_per_step):
                self._train_epoch(network, optimizer, params)
        return {"network": network.state_dict(), "optimizer": optimizer.state_dict()}

    def _train_epoch(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, params: Params
    ) -> None:
        network.train()
        *body, head = network.children()
        images, labels = self._split.train
        for batch in torch.randperm(len(labels)).split(self._task.batch_size):
            features = shift(images[batch], params["shift"])
            for module in body:
                features = module(features)
            logits = head(F.dropout(features, params["dropout"]))
            loss = F.cross_entropy(logits, labels[batch], label_smoothing=params["label_smoothing"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def validate(self, state: State) -> float:
        """Return the accuracy on validation images in %."""
        return 100 * accuracy(self._network_of(state), self._split.validation)

    def test(self, state: State) -> float:
        """Return the accuracy on test images in %."""
        return 100 * accuracy(self._network_of(state), self._split.test)

    def _network_of(self, state: State) -> nn.Module:
        network = self._make_network()
        network.load_state_dict(state["network"])
        return network

    def _make_network(self) -> nn.Module:
        return make_network("cnn", shape_of(self._split), N_CLASSES)


def shift(images: Tensor, most: float) -> Tensor:
    """Move each image by up to `most` pixels in either direction; the mean comes after its edge."""
    n, _, n_rows, n_columns = images.shape
    margin = ceil(most)
    padded = F.pad(images, (margin,) * 4)
    moves = (most * (2 * torch.rand(2, n, 1) - 1)).round().long() + margin
    rows = moves[0] + torch.arange(n_rows)
    columns = moves[1] + torch.arange(n_columns)
    image = torch.arange(n)[:, None, None]
    return padded[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
