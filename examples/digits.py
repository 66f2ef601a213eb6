"""The main job, `make demo`: evolve loss functions that survive wrong labels, on real digits.

    python -m examples.digits              # five seeds
    python -m examples.digits --seeds 1    # a first look

Stopped at any point, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from sklearn.datasets import load_digits

from examples.label_noise import (
    Settings,
    Split,
    add_options,
    mlp,
    settings_from,
    with_label_noise,
)
from examples.runner import run

N_TRAIN, N_VALIDATION = 900, 450  # and 447 to test on


def make_split(seed: int, label_noise: float) -> Split:
    """Split the 1,797 digits of 8 × 8 pixels at random, and make some of the labels wrong."""
    images, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    images, labels = images[order].float() / 16, labels[order]
    known = N_TRAIN + N_VALIDATION
    noisy = with_label_noise(labels[:known], label_noise, n_classes=10, seed=seed)
    return Split(
        train=(images[:N_TRAIN], noisy[:N_TRAIN]),
        validation=(images[N_TRAIN:known], noisy[N_TRAIN:]),
        test=(images[known:], labels[known:]),
    )


def settings_of(options: argparse.Namespace) -> Settings:
    """Return the settings of a run on digits."""
    return settings_from(
        options,
        make_split=make_split,
        make_network=partial(mlp, 64, 128, 64),
        learning_rate=0.1,
        batch_size=64,
        in_batches=True,
        logs_to_mlflow=find_spec("mlflow") is not None,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_options(
        parser, label_noise=0.4, seeds=5, generations=30, epochs=1,
        folder=Path("runs/digits"),
    )  # fmt: skip
    run(settings_of(parser.parse_args(arguments)))


if __name__ == "__main__":
    main()
