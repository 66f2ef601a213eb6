"""Many workers on one machine: a GPU each, several a GPU, or the cores where there is no GPU.

    python -m examples.parallel_gpus                          # a worker a GPU, or a core
    python -m examples.parallel_gpus --workers-per-device 4   # small networks share a GPU

Digits with 40 % wrong labels, as in `examples.digits`. The study is in a file that all workers
reach, so Ctrl-C at any point, and the same command goes on.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import optuna
import torch
from optuna.distributions import FloatDistribution

from epbt_optuna import CheckpointStore, EPBTSampler, TaylorGLOLoss, is_trainable
from epbt_optuna.journal import journal_storage
from epbt_optuna.parallel import current_device, optimize
from examples.digits import make_split
from examples.label_noise import Part, accuracy, mlp, train_epoch


def objective(trial: optuna.Trial, checkpoints: CheckpointStore, n_epochs: int) -> float:
    """Train one individual for one generation on this worker's device."""
    device = current_device()
    trial.set_user_attr("device", str(device))
    torch.manual_seed(trial.number)
    split = make_split(seed=0, label_noise=0.4)
    network = mlp(64, 128, 64).to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    if (state := checkpoints.inherit(trial, map_location=device)) is not None:
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])

    loss_fn = TaylorGLOLoss.suggest(trial).to(device)
    for _ in range(n_epochs):
        train_epoch(network, optimizer, loss_fn, on(device, split.train), batch_size=64)

    checkpoints.save(trial, {"network": network.state_dict(), "optimizer": optimizer.state_dict()})
    return accuracy(network, on(device, split.validation))


def on(device: torch.device, part: Part) -> Part:
    images, labels = part
    return images.to(device), labels.to(device)


def open_study(folder: Path, population_size: int) -> optuna.Study:
    folder.mkdir(parents=True, exist_ok=True)
    sampler = EPBTSampler(
        population_size,
        feasible=partial(is_trainable, n_classes=10),
        search_space={f"theta_{i}": FloatDistribution(-10.0, 10.0) for i in range(8)},
        seed=0,
    )
    return optuna.create_study(
        study_name="parallel",
        direction="maximize",
        sampler=sampler,
        storage=journal_storage(folder / "study.log"),
        load_if_exists=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--population", type=int, default=40, help="individuals in a population")
    parser.add_argument("--generations", type=int, default=10, help="the first one included")
    parser.add_argument("--epochs", type=int, default=1, help="epochs in a generation")
    parser.add_argument("--workers", type=int, help="default: one a GPU, or one a core")
    parser.add_argument("--workers-per-device", type=int, default=1)
    parser.add_argument("--no-barrier", action="store_true", help="let no worker ever wait")
    parser.add_argument("--folder", type=Path, default=Path("runs/parallel-gpus"))
    options = parser.parse_args(arguments)

    study = open_study(options.folder, options.population)
    checkpoints = CheckpointStore(options.folder / "checkpoints")
    optimize(
        study,
        partial(objective, checkpoints=checkpoints, n_epochs=options.epochs),
        n_generations=options.generations,
        workers=options.workers,
        workers_per_device=options.workers_per_device,
        barrier=not options.no_barrier,
        callbacks=[checkpoints.collector()],
    )

    best = study.best_trial
    network = mlp(64, 128, 64)
    network.load_state_dict(checkpoints.load(best)["network"])
    test = make_split(seed=0, label_noise=0.4).test
    devices = Counter(trial.user_attrs.get("device", "none") for trial in study.trials)
    print(f"Trial {best.number} of {len(study.trials)} is the fittest: {best.value:.3f}")
    print(f"Its accuracy on clean test data: {accuracy(network, test):.3f}")
    print("Trials by device:", ", ".join(f"{name} {n}" for name, n in sorted(devices.items())))


if __name__ == "__main__":
    main()
