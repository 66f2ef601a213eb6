from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.paper.data import load
from examples.tuning.learners import make_learner
from tests.paper.datasets import write_fashion_mnist


@pytest.fixture
def data_root(tmp_path: Path) -> Iterator[Path]:
    """A folder with a small Fashion-MNIST, and nothing kept from another."""
    root = tmp_path / "data"
    write_fashion_mnist(root, n_train=90, n_test=30)
    load.cache_clear()
    make_learner.cache_clear()
    yield root
    load.cache_clear()
    make_learner.cache_clear()
