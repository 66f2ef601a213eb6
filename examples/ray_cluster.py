"""Digits on a Ray cluster: the evolution of `examples.digits`, its trials spread over machines.

    python -m examples.ray_cluster                # all cores of this machine
    python -m examples.ray_cluster --gpus 0.25    # four trials on each of its GPUs

For more machines, install this package on all of them, run `ray start --head` on one and
`ray start --address=HEAD:6379` on the others, and this on any of them. All must reach the storage
and the checkpoints:

    python -m examples.ray_cluster --storage postgresql+psycopg://user@host/database --bucket name

or, instead of `--bucket`, a `--folder` that they share. The database's driver and boto3 are
installed apart. Stopped at any point, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import optuna
import torch
from optuna.artifacts import Backoff, Boto3ArtifactStore
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from epbt_optuna import CheckpointStore
from epbt_optuna.journal import journal_storage
from epbt_optuna.parallel import current_device, optimize
from examples.digits import make_split, settings_of
from examples.evolving import objective
from examples.label_noise import Settings, Split, accuracy

SEED = 0


def on_this_device(
    trial: optuna.Trial, settings: Settings, split: Split, checkpoints: CheckpointStore
) -> float:
    """Train one individual on the GPU that Ray gave this trial, or on the CPU."""
    with (device := current_device()):  # what torch makes, it makes there
        here = Split(
            *((images.to(device), labels.to(device)) for images, labels in vars(split).values())
        )
        return objective(trial, settings, SEED, here, checkpoints)


def open_storage(url: str | None, folder: Path) -> str | BaseStorage:
    """Return a database that all machines reach, or a file for the processes of this one."""
    if url is not None:
        return url
    folder.mkdir(parents=True, exist_ok=True)
    return journal_storage(folder / "study.log")


def open_checkpoints(bucket: str | None, folder: Path) -> CheckpointStore:
    """Return the store of the checkpoints: S3, or a folder."""
    if bucket is None:
        return CheckpointStore(folder.resolve() / "checkpoints")
    return CheckpointStore(Backoff(Boto3ArtifactStore(bucket, avoid_buf_copy=True)))


def evolve(options: argparse.Namespace) -> tuple[optuna.Study, FrozenTrial, float]:
    """Run, or finish, the study; return it, its fittest trial, and that one's test accuracy."""
    settings = settings_of(options)
    checkpoints = open_checkpoints(options.bucket, options.folder)
    study = optuna.create_study(
        study_name="digits-on-ray",
        direction="maximize",
        storage=open_storage(options.storage, options.folder.resolve()),
        sampler=settings.sampler(SEED),
        load_if_exists=True,
    )
    split = make_split(SEED, settings.label_noise)
    optimize(
        study,
        partial(on_this_device, settings=settings, split=split, checkpoints=checkpoints),
        n_generations=settings.n_generations,
        engine="ray",
        ray_options={"num_cpus": options.cpus, "num_gpus": options.gpus},
        workers=options.workers,
        callbacks=[checkpoints.collector()],
    )
    fittest = settings.sampler().fittest(study)
    network = settings.make_network()
    network.load_state_dict(checkpoints.load(fittest)["network"])
    return study, fittest, accuracy(network, split.test)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cpus", type=float, default=1, help="cores of a trial")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of a trial, such as 0.25")
    parser.add_argument("--workers", type=int, help="the most trials at a time")
    parser.add_argument("--storage", help="URL of a database that all machines reach")
    parser.add_argument("--bucket", help="S3 bucket for the checkpoints")
    parser.add_argument("--folder", type=Path, default=Path("runs/ray_cluster"))
    parser.add_argument("--label-noise", type=float, default=0.4, help="fraction of wrong labels")
    parser.add_argument("--population", type=int)
    parser.add_argument("--generations", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=1, help="epochs in a generation")
    parser.set_defaults(seeds=1, tournament=4, paper=False)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    study, fittest, accuracy_on_right_labels = evolve(parser.parse_args(arguments))
    print(f"Fittest of {len(study.get_trials(deepcopy=False))} trials: {fittest.number}")
    print(f"  accuracy on validation data, some of it labelled wrong: {fittest.value:.1%}")
    print(f"  accuracy on test data, labelled right: {accuracy_on_right_labels:.1%}")


if __name__ == "__main__":
    main()
