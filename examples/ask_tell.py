"""Ask a whole generation, train it as one batched model, tell it: EPBT by ask/tell.

A population of equal networks is one network with stacked weights: all of them train in one call,
each under its own evolved TaylorGLO loss. Digits with 40 % wrong labels, as in `examples.digits`,
whose loop this is without `batched.optimize`.

    python -m examples.ask_tell
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import optuna
import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from torch import nn
from tqdm import tqdm

from epbt_optuna import (
    CheckpointStore,
    EPBTSampler,
    TaylorGLOLoss,
    ask_generation,
    batched,
    is_trainable,
)
from examples.digits import make_split
from examples.label_noise import Part, accuracies, accuracy, train_epoch

SPACE: dict[str, BaseDistribution] = {
    f"theta_{i}": FloatDistribution(-10.0, 10.0) for i in range(8)
}


def make_network() -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, 128), nn.LayerNorm(128), nn.ReLU(),
        nn.Linear(128, 64), nn.LayerNorm(64), nn.ReLU(),
        nn.Linear(64, 10),
    )  # fmt: skip


def run_generation(
    study: optuna.Study, checkpoints: CheckpointStore, train: Part, valid: Part
) -> None:
    """Ask a generation, train it together, save and tell every trial."""
    generation = batched.Generation(ask_generation(study, SPACE), checkpoints=checkpoints)
    loss_fn = TaylorGLOLoss.suggest(generation)
    networks = batched.stack(make_network, len(generation))
    optimizer = batched.SGD(networks.parameters(), lr=0.1, momentum=0.9)
    generation.inherit(network=networks, optimizer=optimizer)
    for _ in range(2):
        train_epoch(networks, optimizer, loss_fn, train, batch_size=32)
    generation.save(network=networks, optimizer=optimizer)
    for trial, fitness in zip(generation.trials, accuracies(networks, valid), strict=True):
        study.tell(trial, float(fitness))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--population", type=int, default=40)
    parser.add_argument("--generations", type=int, default=20)
    options = parser.parse_args(arguments)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.manual_seed(0)
    torch.set_num_threads(1)  # the networks are too small to share
    split = make_split(seed=0, label_noise=0.4)
    sampler = EPBTSampler(
        options.population,
        feasible=partial(is_trainable, n_classes=10),
        search_space=SPACE,
        seed=0,
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = CheckpointStore(Path(folder))
        for _ in tqdm(range(options.generations), unit=" generations"):
            run_generation(study, checkpoints, split.train, split.validation)
        best = make_network()
        best.load_state_dict(checkpoints.load(study.best_trial)["network"])
    print(f"Trial {study.best_trial.number} of {len(study.trials)} is the fittest:", end=" ")
    print(
        f"{study.best_value:.1%} on noisy validation labels, "
        f"{accuracy(best, split.test):.1%} on clean test labels."
    )


if __name__ == "__main__":
    main()
