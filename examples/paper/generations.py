"""A generation of small networks, trained as one batch: what `evolution` does one by one.

Every individual has the founder's weights, the order of images and the loss that it has there, so
both give the same study up to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from epbt_optuna import batched
from examples.paper.genomes import losses_of, suggest
from examples.paper.kinds import EPBTArm, PBTArm
from examples.paper.losses import AnyLoss, go_on_with, loss_on, memory_of
from examples.paper.training import Workbench, set_sgd


def train_generation(
    generation: batched.Generation, bench: Workbench, arm: EPBTArm | PBTArm
) -> Tensor:
    """Train a generation from its parents' weights; return the fitness of each."""
    stopwatch = bench.stopwatch
    numbers = [trial.number for trial in generation.trials]
    with stopwatch.stage("record"):
        params = suggest(generation, arm.tunes)
    normalize = isinstance(arm, EPBTArm) and arm.normalize
    losses = losses_of(params, bench.n_samples, bench.device, normalize=normalize)
    with stopwatch.stage("inherit"):
        build = iter([bench.network(number) for number in numbers]).__next__
        networks = batched.stack(build, len(generation)).to(bench.device)
        optimizer = batched.SGD(
            networks.parameters(), lr=bench.config.learning_rate, momentum=bench.config.momentum
        )
        inherited = generation.inherit(
            network=networks,
            optimizer=optimizer,
            epochs=0,
            mate_weight=mate_weight_of(arm),
            **memory_of(losses),
        )
        go_on_with(losses, inherited)
    for epoch, share in bench.config.passes(generation.number):
        set_sgd(optimizer, **sgd_of(params, bench.learning_rate(epoch)))
        train_epoch(bench, networks, optimizer, losses, numbers, epoch, share)
    fitness = bench.validation_accuracies(networks)
    with stopwatch.stage("save"):
        epochs_of_weights = inherited["epochs"] + bench.config.epochs_per_generation
        generation.set_user_attr("epochs", epochs_of_weights)
        generation.save(
            network=networks, optimizer=optimizer, epochs=epochs_of_weights, **memory_of(losses)
        )
    # All of the time counts as the first one's: only the sum of all is looked at.
    generation.set_user_attr("seconds", [stopwatch.lap(), *[{}] * (len(generation) - 1)])
    return fitness


def train_epoch(
    bench: Workbench,
    networks: nn.Module,
    optimizer: torch.optim.Optimizer,
    losses: AnyLoss,
    numbers: list[int],
    epoch: float,
    share: float,
) -> None:
    """Train a share of an epoch over the training images, each network in its own order."""
    with bench.stopwatch.stage("train"):
        networks.train()
        images, labels = bench.split.train
        orders = torch.stack(
            [
                torch.randperm(
                    len(labels), generator=bench.generator(number, epoch), device=bench.device
                )
                for number in numbers
            ]
        )
        n_images = round(share * len(labels))
        for batch in orders[:, :n_images].split(bench.config.batch_size, dim=1):
            optimizer.zero_grad()
            logits = networks(batched.each(images[batch]))
            loss_on(losses, logits, labels[batch], batch).sum().backward()
            optimizer.step()


def mate_weight_of(arm: EPBTArm | PBTArm) -> float:
    return arm.mate_weight if isinstance(arm, EPBTArm) else 0.0


def sgd_of(params: Mapping[str, Any], learning_rate: float) -> dict[str, Any]:
    """Return SGD's hyperparameters by a genome and the learning rate that the schedule has now."""
    if "learning_rate" in params:
        return {"lr": params["learning_rate"], "momentum": params["momentum"]}
    return {"lr": learning_rate * params.get("rate", 1.0)}
