"""The devices that batches are tested on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(
    params=[
        "cpu",
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")
        ),
    ]
)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """Make tensors on each device that is here."""
    torch.set_default_device(request.param)
    yield request.param
    torch.set_default_device(None)
