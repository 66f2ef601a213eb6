"""Train every generation as one batch: EPBT on digits with 40 % wrong labels, in half a minute.

The job of `examples.digits`, whose loop this is without one: a population of equal networks is one
network whose tensors have a leading dimension, each member under its own TaylorGLO loss. EPBT is
set as recommended for wrong labels.

    python -m examples.batched
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import optuna
import torch
from optuna.distributions import FloatDistribution
from torch import Tensor

from epbt_optuna import (
    CheckpointStore,
    EPBTSampler,
    TaylorGLOLoss,
    TournamentSelection,
    batched,
    is_trainable,
)
from examples.digits import make_split
from examples.label_noise import accuracies, accuracy, mlp, train_epoch

SPACE = {f"theta_{i}": FloatDistribution(-10.0, 10.0) for i in range(8)}
SPLIT = make_split(seed=0, label_noise=0.4)
build = partial(mlp, 64, 128, 64)


def objective(generation: batched.Generation) -> Tensor:
    loss_fn = TaylorGLOLoss.suggest(generation)
    model = batched.stack(build, len(generation))
    optimizer = batched.SGD(model.parameters(), lr=0.1, momentum=0.9)
    generation.inherit(model=model, optimizer=optimizer, mate_weight=0.5)
    train_epoch(model, optimizer, loss_fn, SPLIT.train, batch_size=64)
    generation.save(model=model, optimizer=optimizer)
    return accuracies(model, SPLIT.validation)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--population", type=int, default=21)
    parser.add_argument("--generations", type=int, default=30)
    options = parser.parse_args(arguments)

    torch.manual_seed(0)
    torch.set_num_threads(1)  # the networks are too small to share
    sampler = EPBTSampler(
        options.population,
        selection=TournamentSelection(4),
        train_elites=True,
        fitness_smoothing=0.5,
        feasible=partial(is_trainable, n_classes=10),
        search_space=SPACE,
        seed=0,
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = CheckpointStore(Path(folder))
        batched.optimize(
            study, objective, n_generations=options.generations, checkpoints=checkpoints
        )
        fittest = sampler.fittest(study)
        best = build()
        best.load_state_dict(checkpoints.load(fittest)["model"])
    print(f"Trial {fittest.number} of {len(study.trials)} is the fittest:", end=" ")
    print(f"{fittest.value:.1%} on noisy validation labels,", end=" ")
    print(f"{accuracy(best, SPLIT.test):.1%} on clean test labels.")


if __name__ == "__main__":
    main()
