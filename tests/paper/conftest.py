from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.paper.data import load
from tests.paper.datasets import write_cifar10, write_fashion_mnist, write_svhn


@pytest.fixture
def data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with small CIFAR-10, SVHN and Fashion-MNIST."""
    root = tmp_path / "data"
    write_cifar10(root, monkeypatch)
    write_svhn(root, monkeypatch)
    write_fashion_mnist(root)
    load.cache_clear()
    yield root
    load.cache_clear()
