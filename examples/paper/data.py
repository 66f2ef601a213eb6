"""Data sets as tensors on the device: loading, splitting, wrong labels, augmentation.

Networks this small wait for a DataLoader longer than they compute, so a data set is loaded
once, whole, and batches are cut and augmented where they are used
(`tests/benchmarks/data_loading.py` shows the difference).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.error import URLError

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F  # noqa: N812, PyTorch's own name for it
from torchvision.datasets import CIFAR10, SVHN

from examples import fashion_mnist
from examples.label_noise import Part, Split, with_label_noise
from examples.paper import ExperimentError
from examples.paper.configs import Config, NoiseKind
from examples.paper.models import Shape

N_CLASSES = 10
"""All four data sets have ten."""

MAX_SHIFT = 4
"""Pixels by which an augmented image is moved at most; where nothing was, it is the mean."""


@dataclass(frozen=True)
class Images:
    """A data set as it comes: pixels of shape (images, channels, rows, columns), as bytes.

    Attributes:
        known: What may be trained and chosen on.
        test: What is measured on; None if the data set has no such part of its own.
    """

    known: Part
    test: Part | None


def digits(root: Path) -> Images:  # noqa: ARG001, scikit-learn brings them along
    pixels, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    return Images((pixels.to(torch.uint8).reshape(-1, 1, 8, 8), labels), None)


def fashion(root: Path) -> Images:
    known, test = (fashion_mnist.load(root, train=train) for train in (True, False))
    return Images(as_images(known), as_images(test))


def as_images(part: Part) -> Part:
    """Undo the flattening and scaling of `fashion_mnist.load`."""
    rows, labels = part
    return (rows * 255).round().to(torch.uint8).reshape(-1, 1, 28, 28), labels


def cifar10(root: Path) -> Images:
    parts = [CIFAR10(str(root), train=train, download=True) for train in (True, False)]
    known, test = (
        (torch.from_numpy(part.data).permute(0, 3, 1, 2), torch.tensor(part.targets))
        for part in parts
    )
    return Images(known, test)


def svhn(root: Path) -> Images:
    """Load SVHN; what may be trained on is `train` and `extra` together, as in the paper."""
    parts = [SVHN(str(root), split=name, download=True) for name in ("train", "extra", "test")]
    train, extra, test = (
        (torch.from_numpy(part.data), torch.from_numpy(part.labels)) for part in parts
    )
    return Images((torch.cat([train[0], extra[0]]), torch.cat([train[1], extra[1]])), test)


DATASETS: dict[str, Callable[[Path], Images]] = {
    "digits": digits,
    "fashion-mnist": fashion,
    "cifar10": cifar10,
    "svhn": svhn,
}


@lru_cache(maxsize=1)
def load(dataset: str, root: Path) -> Images:
    """Load a data set, downloading it where torchvision can; the last one is kept.

    Raises:
        ExperimentError: It is neither there nor to be had.
    """
    try:
        return DATASETS[dataset](root)
    except (OSError, URLError, RuntimeError, SystemExit) as error:
        raise ExperimentError(
            f"Data set {dataset!r} is not in {root.resolve()} and could not be downloaded to it: "
            f"{error}"
        ) from error


def make_split(config: Config, seed: int, root: Path, device: str = "cpu") -> Split:
    """Cut a data set into training, validation and test images, normalised, on the device.

    Which images are which, and whose labels are wrong, depends on the seed only, never on the
    arm. Pixels have mean 0 and variance 1 over the training images, channel by channel.

    Raises:
        ExperimentError: The data set is missing, or smaller than the config says.
    """
    images = load(config.dataset, root)
    pixels, labels = images.known
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    n_train = config.n_train
    if n_train is None:
        n_train = len(labels) - config.n_validation
    n_known = n_train + config.n_validation
    if n_train < 1 or n_known > len(labels) - (images.test is None):
        raise ExperimentError(
            f"Config {config.name!r} is for {n_train} training and {config.n_validation} "
            f"validation images, but {config.dataset!r} in {root.resolve()} has {len(labels)}."
        )
    known, rest = order[:n_known], order[n_known:]
    test_pixels, test_labels = images.test or (pixels[rest], labels[rest])
    noisy = wrong_labels(pixels[known], labels[known], config.noise, config.noise_rate, seed)
    normalise = normaliser(pixels[known[:n_train]])
    known_pixels = normalise(pixels[known]).to(device)
    noisy = noisy.to(device)
    return Split(
        train=(known_pixels[:n_train], noisy[:n_train]),
        validation=(known_pixels[n_train:], noisy[n_train:]),
        test=(normalise(test_pixels).to(device), test_labels.to(device)),
    )


def normaliser(pixels: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the map that gives `pixels` mean 0 and variance 1, channel by channel."""
    variance, mean = torch.var_mean(pixels.float(), (0, 2, 3), keepdim=True)
    return lambda others: (others.float() - mean) / variance.sqrt()


def wrong_labels(pixels: Tensor, labels: Tensor, kind: NoiseKind, rate: float, seed: int) -> Tensor:
    """Make a share of the labels wrong.

    - `"symmetric"`: exactly that share, drawn without replacement; each becomes one of the nine
      other classes, all equally likely.
    - `"pair-flip"`: exactly that share; each becomes the next class, and the last one the first.
    - `"instance-dependent"` (Xia et al. 2020, algorithm 2): image i of class y gets a probability
      q_i to be wrong from N(rate, 0.1²), drawn anew while it is outside of [0, 1]. For each class a
      matrix W_y of (pixels × classes) is drawn from N(0, 1). With x the pixels, divided by the
      greatest of all, the label becomes class k ≠ y with probability q_i · softmax(x·W_y)_k, the
      softmax being over the classes but y. So the share is only near the rate, and images that
      look alike get the same wrong class.

    Args:
        pixels: The images, as bytes; only the last kind looks at them.
        labels: Their classes.
        kind: One of these.
        rate: The share, in [0, 1].
        seed: Decides which.
    """
    if kind == "symmetric":
        return with_label_noise(labels, rate, n_classes=N_CLASSES, seed=seed)
    if kind == "instance-dependent":
        return labels_by_image(pixels, labels, rate, seed)
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.randperm(len(labels), generator=generator)[: round(rate * len(labels))]
    noisy = labels.clone()
    noisy[wrong] = (noisy[wrong] + 1) % N_CLASSES
    return noisy


def labels_by_image(pixels: Tensor, labels: Tensor, rate: float, seed: int) -> Tensor:
    """Draw labels that are wrong with a probability and in a way that the image decides."""
    if rate == 0:
        return labels
    rng = np.random.default_rng(seed)
    flip = rng.normal(rate, 0.1, len(labels))
    while (outside := (flip < 0) | (flip > 1)).any():
        flip[outside] = rng.normal(rate, 0.1, int(outside.sum()))
    x = pixels.flatten(1).double().numpy()
    x /= x.max()
    noisy = labels.numpy().copy()
    for label in range(N_CLASSES):
        weights = rng.standard_normal((x.shape[1], N_CLASSES))
        (own,) = np.nonzero(labels.numpy() == label)
        scores = x[own] @ weights
        scores[:, label] = -np.inf
        odds = np.exp(scores - scores.max(1, keepdims=True))
        odds *= (flip[own] / odds.sum(1))[:, None]
        odds[:, label] = 1 - flip[own]
        chosen = odds.cumsum(1) > rng.random((len(own), 1))
        noisy[own] = chosen.argmax(1)
    return torch.from_numpy(noisy)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror every second image and move each by up to `MAX_SHIFT` pixels, in one gather."""
    n, _, n_rows, n_columns = images.shape
    device = images.device
    padded = F.pad(images, (MAX_SHIFT,) * 4)

    def choose(bound: int) -> Tensor:
        return torch.randint(bound, (n, 1), generator=generator, device=device)

    rows = choose(2 * MAX_SHIFT + 1) + torch.arange(n_rows, device=device)
    columns = choose(2 * MAX_SHIFT + 1) + torch.arange(n_columns, device=device)
    columns = torch.where(choose(2) == 1, columns.flip(1), columns)
    image = torch.arange(n, device=device)[:, None, None]
    moved = padded[image, :, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def all_labelled(split: Split) -> Part:
    """Return training and validation images together."""
    (images, labels), (more_images, more_labels) = split.train, split.validation
    return torch.cat([images, more_images]), torch.cat([labels, more_labels])


def with_more_validation(split: Split, share: float) -> Split:
    """Move a share of the training images to the validation images."""
    if not share:
        return split
    n_train = len(split.train[1]) - round(share * len(split.train[1]))
    (images, labels), (more_images, more_labels) = split.train, split.validation
    return Split(
        train=(images[:n_train], labels[:n_train]),
        validation=(
            torch.cat([images[n_train:], more_images]),
            torch.cat([labels[n_train:], more_labels]),
        ),
        test=split.test,
    )


def shape_of(split: Split) -> Shape:
    channels, rows, columns = split.train[0].shape[1:]
    return channels, rows, columns
