"""Which loss survives wrong labels? The experiment of `examples.digits` and `fashion_mnist`.

An evolved TaylorGLO loss against the losses people use, early-stopped too: same network, data
and optimizer for all. A fraction of the training and validation labels is wrong; every choice
(early stopping, fitness) sees those labels only. Test labels are right, and only measured.

EPBT is set as recommended: elites go on training; where labels are wrong, fitness is smoothed and
weights are averaged with the mate's. `--paper` sets it as in the paper, to train as long.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from optuna.distributions import FloatDistribution
from optuna.pruners import BasePruner, NopPruner
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812, PyTorch's own name for it
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from epbt_optuna import EPBTSampler, TournamentSelection, is_trainable

Loss = Callable[[Tensor, Tensor], Tensor]
Report = Callable[[int, str], None]
"""Tells of epochs that were trained, and in words how it goes."""
Part = tuple[Tensor, Tensor]
"""Images, one row each, and their labels."""


@dataclass(frozen=True)
class Split:
    """A data set in three parts; the labels of the first two may be wrong."""

    train: Part
    validation: Part
    test: Part


@dataclass(frozen=True)
class Settings:
    """What one run of the experiment does."""

    make_split: Callable[[int, float], Split]  # (seed, label noise)
    make_network: Callable[[], nn.Module]
    folder: Path
    learning_rate: float
    batch_size: int
    population_size: int
    n_generations: int
    epochs_per_generation: int
    label_noise: float
    n_seeds: int
    n_workers: int
    tournament_size: int
    train_elites: bool = False
    fitness_smoothing: float = 0.0
    mate_weight: float = 0.0
    only_trainable: bool = True
    pruner: BasePruner = field(default_factory=NopPruner)
    in_batches: bool = False  # a generation as one network: for small ones, several times as fast
    logs_to_mlflow: bool = False  # the study of seed 0; one shows as much as five

    @property
    def tracking_uri(self) -> str:
        """MLflow's database of this run."""
        return f"sqlite:///{self.folder.resolve()}/mlflow.db"

    def sampler(self, seed: int | None = None) -> EPBTSampler:
        """Return the sampler of a seed's study; without a seed, to ask it about trials."""
        return EPBTSampler(
            self.population_size,
            selection=TournamentSelection(self.tournament_size),
            train_elites=self.train_elites,
            fitness_smoothing=self.fitness_smoothing,
            feasible=partial(is_trainable, n_classes=10) if self.only_trainable else None,
            search_space={f"theta_{i}": FloatDistribution(-10.0, 10.0) for i in range(8)},
            seed=seed,
        )

    @property
    def n_epochs(self) -> int:
        """Epochs that a network trained from start to end sees, and an unbroken lineage too."""
        return self.n_generations * self.epochs_per_generation

    @property
    def n_epochs_of_evolution(self) -> int:
        """Epochs that the whole population trains."""
        return self.sampler().n_trials(self.n_generations) * self.epochs_per_generation


# Data and training, the same for every arm


def with_label_noise(labels: Tensor, rate: float, n_classes: int, seed: int) -> Tensor:
    """Replace a fraction of the labels by other classes, all equally likely."""
    generator = torch.Generator().manual_seed(seed)
    n_wrong = round(rate * len(labels))
    wrong = torch.randperm(len(labels), generator=generator)[:n_wrong]
    noisy = labels.clone()
    noisy[wrong] += torch.randint(1, n_classes, (n_wrong,), generator=generator)
    return noisy % n_classes


def mlp(n_inputs: int, *n_hidden: int, n_classes: int = 10) -> nn.Sequential:
    """Make a multilayer perceptron with batch normalisation."""
    layers: list[nn.Module] = []
    for n_outputs in n_hidden:
        layers += [nn.Linear(n_inputs, n_outputs), nn.BatchNorm1d(n_outputs), nn.ReLU()]
        n_inputs = n_outputs
    return nn.Sequential(*layers, nn.Linear(n_inputs, n_classes))


def make_optimizer(network: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), lr=settings.learning_rate, momentum=0.9)


def set_learning_rate(
    optimizer: torch.optim.Optimizer, settings: Settings, progress: float
) -> None:
    """Divide the learning rate by 10 after a half and three quarters of training, as the paper."""
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * 0.1 ** ((progress >= 0.5) + (progress >= 0.75))


def train_epoch(
    network: nn.Module, optimizer: torch.optim.Optimizer, loss_fn: Loss, part: Part, batch_size: int
) -> None:
    network.train()
    images, labels = part
    for batch in torch.randperm(len(labels)).split(batch_size):
        optimizer.zero_grad()
        loss_fn(network(images[batch]), labels[batch]).sum().backward()  # of one, or of each
        optimizer.step()


@torch.no_grad()
def accuracies(network: nn.Module, part: Part) -> Tensor:
    """Return the accuracy of a network, or of each in a stack."""
    network.eval()
    images, labels = part
    correct: Tensor = network(images).argmax(-1) == labels
    return correct.float().mean(-1)


def accuracy(network: nn.Module, part: Part) -> float:
    return float(accuracies(network, part))


# The losses to compare with


def generalized_cross_entropy(logits: Tensor, labels: Tensor, q: float = 0.7) -> Tensor:
    """(1 − p^q) / q, between cross-entropy and mean absolute error (Zhang & Sabuncu 2018)."""
    probabilities = logits.softmax(1).gather(1, labels[:, None])
    return ((1 - probabilities.clamp_min(1e-7) ** q) / q).mean()


def mean_absolute_error(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum over classes of |one-hot − softmax|, which is 2 − 2p (Ghosh et al. 2017)."""
    return (2 - 2 * logits.softmax(1).gather(1, labels[:, None])).mean()


STANDARD_LOSSES: dict[str, Loss] = {
    "cross-entropy": F.cross_entropy,
    "label smoothing 0.1": partial(F.cross_entropy, label_smoothing=0.1),
    "generalized cross-entropy": generalized_cross_entropy,
    "mean absolute error": mean_absolute_error,
}


EMA_DECAY = 0.97
"""Of 0.9, 0.97, 0.99 and 0.997 the best, or as good, on validation images: noisy digits and noisy
Fashion-5000, seeds 100 to 102, cross-entropy, GCE and SCE."""

SINGLE_NETWORKS: dict[str, tuple[Loss, float]] = {
    **{name: (loss_fn, 0.0) for name, loss_fn in STANDARD_LOSSES.items()},
    "generalized c.-e. with EMA": (generalized_cross_entropy, EMA_DECAY),
}
"""What EPBT is compared with: a loss, and the decay of the average of the weights, if there is one.

The average lifts generalized cross-entropy the most of what is cheap, so it is the one to beat."""


def averaged_model(
    network: nn.Module, optimizer: torch.optim.Optimizer, decay: float
) -> AveragedModel:
    """Return the moving average of a network's weights and running statistics, step by step.

    Args:
        network: What is trained.
        optimizer: What trains it: each of its steps moves the average.
        decay: The share of itself that the average keeps in a step.
    """
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    optimizer.register_step_post_hook(lambda *_: average.update_parameters(network))
    return average


def train_with(
    name: str, settings: Settings, split: Split, seed: int, report: Report
) -> dict[str, float]:
    """Train a network of `SINGLE_NETWORKS` from start to end; return its test accuracies."""
    loss_fn, decay = SINGLE_NETWORKS[name]
    torch.manual_seed(seed)
    network = settings.make_network()
    optimizer = make_optimizer(network, settings)
    measured = averaged_model(network, optimizer, decay) if decay else network
    best_validation, early, last = -1.0, 0.0, 0.0
    for epoch in range(settings.n_epochs):
        set_learning_rate(optimizer, settings, epoch / settings.n_epochs)
        train_epoch(network, optimizer, loss_fn, split.train, settings.batch_size)
        validation, last = accuracy(measured, split.validation), accuracy(measured, split.test)
        if validation > best_validation:
            best_validation, early = validation, last
        report(1, f"seed {seed}, {name}, epoch {epoch + 1}: {best_validation:.1%}")
    return {"last": last, "early": early}


# Options


def add_options(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    """Add the options that both examples have."""
    parser.add_argument("--label-noise", type=float, help="fraction of wrong labels")
    parser.add_argument("--seeds", type=int, help="how many repetitions")
    parser.add_argument(
        "--paper", action="store_true", help="EPBT as in the paper: elites stand still"
    )
    parser.add_argument(
        "--population", type=int, help="individuals: 21, or 40 with --paper, which train as long"
    )
    parser.add_argument(  # accuracy on wrong labels says little: four presses harder than two
        "--tournament", type=int, default=4, help="entrants in a tournament; the paper has 2"
    )
    parser.add_argument("--generations", type=int, help="generations, the first one included")
    parser.add_argument("--epochs", type=int, help="epochs in a generation")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--folder", type=Path, help="where studies and checkpoints are kept")
    parser.set_defaults(**defaults)


def settings_from(options: argparse.Namespace, **settings: Any) -> Settings:
    """Make the settings of a run; what it is made of names its folder, so that runs never mix."""
    population_size = options.population or (40 if options.paper else 21)
    # Of the parent in fitness and of the mate in weights, as recommended where labels are wrong.
    share = 0.5 if options.label_noise > 0 and not options.paper else 0.0
    folder = options.folder / (
        f"noise-{options.label_noise:g}-{population_size}x{options.generations}"
        f"x{options.epochs}-t{options.tournament}-{'paper' if options.paper else 'recommended'}"
    )
    return Settings(
        folder=folder,
        population_size=population_size,
        train_elites=not options.paper,
        fitness_smoothing=share,
        mate_weight=share,
        n_generations=options.generations,
        epochs_per_generation=options.epochs,
        label_noise=options.label_noise,
        tournament_size=options.tournament,
        n_seeds=options.seeds,
        n_workers=options.workers,
        **settings,
    )
