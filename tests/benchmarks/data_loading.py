"""`python -m tests.benchmarks.data_loading`: what a DataLoader costs a network this small.

One epoch over CIFAR-shaped random images, augmented and normalised: torchvision's transforms in a
DataLoader, against `examples.paper`, which cuts and augments whole batches of a tensor on the
device. Medians; nothing here passes or fails.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from statistics import median
from time import perf_counter

import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F  # noqa: N812, PyTorch's own name for it
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from examples.label_noise import Part
from examples.paper.data import MAX_SHIFT, augment, normaliser
from examples.paper.models import make_network

BATCH_SIZE = 128


class Pictures(Dataset[tuple[Tensor, int]]):
    """Images one by one, as torchvision's data sets give them."""

    def __init__(self, pixels: Tensor, labels: Tensor) -> None:
        self.pixels, self.labels = pixels.permute(0, 2, 3, 1).numpy(), labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomHorizontalFlip(),
                transforms.RandomCrop(32, padding=MAX_SHIFT),
                transforms.ToTensor(),
                transforms.Normalize([0.5] * 3, [0.3] * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


def batches_of_tensors(part: Part) -> Iterator[tuple[Tensor, Tensor]]:
    images, labels = part
    generator = torch.Generator(images.device)
    order = torch.randperm(len(labels), generator=generator, device=images.device)
    for batch in order.split(BATCH_SIZE):
        yield augment(images[batch], generator), labels[batch]


def epoch(
    batches: Callable[[], Iterable[tuple[Tensor, Tensor]]], model: str | None, device: str
) -> float:
    """Return the seconds of one epoch: of batches alone, or of training a network on them."""
    network = None if model is None else make_network(model, (3, 32, 32), 10).to(device)
    start = perf_counter()
    for images, labels in batches():
        images, labels = images.to(device), labels.to(device)
        if network is not None:
            F.cross_entropy(network(images), labels).backward()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=5_120)
    parser.add_argument("--models", nargs="+", default=["cnn"], help="resnet32 for a GPU")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pixels = torch.randint(256, (options.images, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(10, (options.images,))
    part = (normaliser(pixels)(pixels).to(options.device), labels.to(options.device))
    ways: dict[str, Callable[[], Iterable[tuple[Tensor, Tensor]]]] = {
        f"DataLoader, {n} workers": partial(
            DataLoader, Pictures(pixels, labels), BATCH_SIZE, shuffle=True, num_workers=n
        )
        for n in (0, 2)
    }
    ways["tensors on the device"] = partial(batches_of_tensors, part)
    title = f"Seconds for an epoch of {options.images:,} augmented images on {options.device}"
    table = Table(title=title)
    for heading in ("", "batches alone", *(f"training the {model}" for model in options.models)):
        table.add_column(heading, justify="right")
    for name, batches in ways.items():
        times = [
            median(epoch(batches, model, options.device) for _ in range(3))
            for model in (None, *options.models)
        ]
        table.add_row(name, *(f"{seconds:.2f}" for seconds in times))
    Console().print(table)


if __name__ == "__main__":
    main()
