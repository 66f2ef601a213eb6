"""Evolve loss functions on Fashion-MNIST, clean or with wrong labels.

    python -m examples.fashion_mnist                      # clean labels
    python -m examples.fashion_mnist --label-noise 0.4    # 40 % of them wrong

The files are looked for in `--data-root`, then where Debian's package `dataset-fashion-mnist` puts
them, and are downloaded otherwise. Stopped at any point, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from urllib.error import URLError

import torch
from torchvision.datasets import FashionMNIST

from examples.label_noise import (
    Part,
    Settings,
    Split,
    add_options,
    mlp,
    settings_from,
    with_label_noise,
)
from examples.runner import run

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def load(data_root: Path, *, train: bool, debian: Path = DEBIAN) -> Part:
    """Load one of torchvision's two parts, as rows of 784 pixels in [0, 1]."""
    raw = data_root / "FashionMNIST" / "raw"
    for archive in debian.glob("*.gz"):
        if not (raw / archive.stem).exists():
            raw.mkdir(parents=True, exist_ok=True)
            part = raw / f"{archive.stem}.part"
            with gzip.open(archive) as source, part.open("wb") as target:
                shutil.copyfileobj(source, target)
            part.replace(raw / archive.stem)  # torchvision downloads only what is not there
    try:
        dataset = FashionMNIST(str(data_root), train=train, download=True)
    except (URLError, RuntimeError) as error:
        raise SystemExit(
            f"Fashion-MNIST is neither in {raw} nor in {debian}, and could not be downloaded "
            f"({error}). Install Debian's `dataset-fashion-mnist`, or give `--data-root`."
        ) from error
    return dataset.data.flatten(1).float() / 255, dataset.targets


def make_split(
    seed: int, label_noise: float, *, data_root: Path, n_train: int, n_validation: int
) -> Split:
    """Take training and validation images at random; the test part is torchvision's."""
    images, labels = load(data_root, train=True)
    known = n_train + n_validation
    if known > len(labels):
        raise SystemExit(f"--train plus --validation must be at most {len(labels)} but is {known}.")
    chosen = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))[:known]
    images, labels = images[chosen], labels[chosen]
    noisy = with_label_noise(labels, label_noise, n_classes=10, seed=seed)
    return Split(
        train=(images[:n_train], noisy[:n_train]),
        validation=(images[n_train:], noisy[n_train:]),
        test=load(data_root, train=False),
    )


def add_data_options(parser: argparse.ArgumentParser, *, train: int, validation: int) -> None:
    """Add the options that say which images to take, and from where."""
    parser.add_argument("--data-root", type=Path, default=Path("runs/data"), help="for torchvision")
    parser.add_argument("--train", type=int, default=train, help="training images")
    parser.add_argument("--validation", type=int, default=validation, help="validation images")


def settings_of(options: argparse.Namespace) -> Settings:
    """Return the settings of a run; unpack the data, or fail, before any worker starts."""
    load(options.data_root, train=True)
    return settings_from(
        options,
        make_split=partial(
            make_split,
            data_root=options.data_root,
            n_train=options.train,
            n_validation=options.validation,
        ),
        make_network=partial(mlp, 784, 256, 128),
        learning_rate=0.1,
        batch_size=128,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_data_options(parser, train=10_000, validation=5_000)
    add_options(
        parser, label_noise=0.0, seeds=1, generations=20, epochs=1,
        folder=Path("runs/fashion-mnist"),
    )  # fmt: skip
    run(settings_of(parser.parse_args(arguments)))


if __name__ == "__main__":
    main()
