"""What a DataLoader costs a small network.

One epoch over CIFAR-shaped random images, augmented and normalised: torchvision's transforms in a
DataLoader, beside `examples.paper`, which cuts and augments whole batches of a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F  # noqa: N812, PyTorch's own name for it
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from examples.label_noise import Part
from examples.paper.data import MAX_SHIFT, augment, normaliser
from examples.paper.models import make_network
from tests.benchmarks.measure import figures, interleaved
from tests.benchmarks.table import Case, Table

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


def epoch(batches: Callable[[], Iterable[tuple[Tensor, Tensor]]], model: str | None) -> None:
    """Run through an epoch of batches; with a model, train it on them."""
    network = None if model is None else make_network(model, (3, 32, 32), 10)
    for images, labels in batches():
        if network is not None:
            F.cross_entropy(network(images), labels).backward()


def bench_data_loading(quick: bool) -> Table:
    """Time epochs of batches alone, and of training a small CNN on them."""
    n_images = 128 if quick else 5_120
    pixels = torch.randint(256, (n_images, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(10, (n_images,))
    part = (normaliser(pixels)(pixels), labels)
    ways: dict[str, Callable[[], Iterable[tuple[Tensor, Tensor]]]] = {
        f"DataLoader, {n} workers": partial(
            DataLoader, Pictures(pixels, labels), BATCH_SIZE, shuffle=True, num_workers=n
        )
        for n in ((0,) if quick else (0, 2))
    }
    ways["batches of tensors"] = partial(batches_of_tensors, part)
    cases = []
    for name, model in (("batches alone", None), ("training a small CNN", "cnn")):
        calls = {way: partial(epoch, batches, model) for way, batches in ways.items()}
        times = interleaved(calls, 1 if quick else 5, n_warm=0 if quick else 1)
        cases.append(Case(name, "s", figures(times)))
    return Table(
        f"An epoch of {n_images:,} augmented images of 32 × 32",
        tuple(cases),
        over=dict.fromkeys(ways, "batches of tensors"),
    )


BENCHMARKS = {
    "data-loading": bench_data_loading,
}
