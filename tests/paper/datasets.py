"""Small data sets in the exact formats in which torchvision finds the real ones on disk."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat
from torchvision.datasets import CIFAR10, SVHN

Bytes = NDArray[np.uint8]


def images(rng: np.random.Generator, n: int, *shape: int) -> tuple[Bytes, list[int]]:
    """Make images whose brightness gives the class away, so that something can be learnt."""
    labels = [i % 10 for i in range(n)]
    noise = rng.integers(0, 30, (n, *shape))
    brightness = 20 * np.array(labels).reshape(-1, *[1] * len(shape))
    return (noise + brightness).astype(np.uint8), labels


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def write_cifar10(root: Path, patch: pytest.MonkeyPatch, n_per_batch: int = 4) -> None:
    """Write the six pickled batches and the names; torchvision is told their checksums."""
    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [name for name, _ in (*CIFAR10.train_list, *CIFAR10.test_list)]
    for name in names:
        pixels, labels = images(rng, n_per_batch, 3072)
        batch = {"batch_label": name, "data": pixels, "filenames": [""] * n_per_batch}
        (folder / name).write_bytes(pickle.dumps({**batch, "labels": labels}, protocol=2))
    meta = folder / CIFAR10.meta["filename"]
    classes = [f"class {i}" for i in range(10)]
    meta.write_bytes(pickle.dumps({"label_names": classes, "num_vis": 3072}, protocol=2))
    sums = [[name, md5(folder / name)] for name in names]
    patch.setattr(CIFAR10, "train_list", sums[:5])
    patch.setattr(CIFAR10, "test_list", sums[5:])
    patch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5(meta)})


def write_svhn(root: Path, patch: pytest.MonkeyPatch, n_per_part: int = 10) -> None:
    """Write the three MATLAB files: pixels (row, column, channel, image), the digit 0 as 10."""
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    parts = {}
    for part, (url, name, _) in SVHN.split_list.items():
        pixels, labels = images(rng, n_per_part, 32, 32, 3)
        digits = np.array([label or 10 for label in labels], np.uint8)[:, None]
        savemat(root / name, {"X": pixels.transpose(1, 2, 3, 0), "y": digits})
        parts[part] = [url, name, md5(root / name)]
    patch.setattr(SVHN, "split_list", parts)


def write_fashion_mnist(root: Path, n_train: int = 60, n_test: int = 10) -> None:
    """Write the four IDX files, compressed as they are distributed and as they are read."""
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for kind, n in (("train", n_train), ("t10k", n_test)):
        pixels, labels = images(rng, n, 28, 28)
        for name, header, data in (
            ("images-idx3", struct.pack(">IIII", 2051, n, 28, 28), pixels.tobytes()),
            ("labels-idx1", struct.pack(">II", 2049, n), bytes(labels)),
        ):
            path = folder / f"{kind}-{name}-ubyte"
            path.write_bytes(header + data)
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(header + data))
