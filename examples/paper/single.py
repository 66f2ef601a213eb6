"""One network, trained from start to end; cut off at any epoch, it goes on from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from examples.label_noise import Part, averaged_model
from examples.paper.data import N_CLASSES, all_labelled
from examples.paper.kinds import SingleNetwork
from examples.paper.losses import AnyLoss, go_on_with, make_loss, memory_of
from examples.paper.outcome import Outcome, Point
from examples.paper.training import Progress, Workbench, set_sgd


def run_single(bench: Workbench, arm: SingleNetwork, folder: Path, progress: Progress) -> Outcome:
    """Train one network with a loss that is not evolved."""
    part = all_labelled(bench.split) if arm.on_everything else None
    n_samples = len((part or bench.split.train)[1])
    loss_fn = make_loss(arm.loss, n_samples, N_CLASSES, bench.device)
    curve = train_from_scratch(
        bench,
        loss_fn,
        folder / "network.pt",
        progress,
        everything=part,
        ema=arm.ema,
        rate=arm.rate,
    )
    return Outcome(curve, epochs_trained=len(curve))


def train_from_scratch(
    bench: Workbench,
    loss_fn: AnyLoss,
    checkpoint: Path,
    progress: Progress,
    *,
    number: int = 0,
    everything: Part | None = None,
    ema: float = 0.0,
    rate: float = 1.0,
) -> list[Point]:
    """Train network `number` for all epochs of the config; return its accuracies.

    Args:
        bench: Data and settings.
        loss_fn: The loss.
        checkpoint: A file that is written after every epoch, and gone on from if it is there.
        progress: Told about the epochs, those of an earlier run included.
        number: Which random stream to use.
        everything: Images to train on in place of the training part; nothing is validated then.
        ema: Share of itself that the average of the weights keeps in a step; it is measured then.
        rate: Share of the config's learning rate.
    """
    network = bench.network(number)
    optimizer = bench.optimizer(network)
    measured = averaged_model(network, optimizer, ema) if ema else network
    curve: list[Point] = []
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=bench.device, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        if ema:
            measured.load_state_dict(state["average"])
        go_on_with(loss_fn, state["loss"])
        curve = [Point(*point) for point in state["curve"]]
        progress(len(curve))
    part = bench.split.train if everything is None else everything
    for epoch in range(len(curve), bench.config.n_epochs):
        set_sgd(optimizer, lr=rate * bench.learning_rate(epoch))
        bench.train_epoch(network, optimizer, loss_fn, part, bench.generator(number, epoch))
        validation = None if everything is not None else bench.validation_accuracy(measured)
        curve.append(Point(epoch + 1, validation, bench.test_accuracy(measured)))
        with bench.stopwatch.stage("save"):
            write_state(
                checkpoint,
                {
                    "network": network.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "average": measured.state_dict() if ema else {},
                    "loss": memory_of(loss_fn),
                    "curve": [tuple(point) for point in curve],
                },
            )
        progress(1)
    return curve


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)
