"""`suggest_mode` measures, and leaves no trace."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from epbt_optuna.batched import SuggestedMode, suggest_mode


class Two(nn.Module):
    """Two arguments, and a nesting of outputs, one without a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x: Tensor, y: Tensor) -> Any:
        return {"logits": self.layer(x), "others": (y.argmax(), self.layer(y))}


def test_both_ways_are_timed_on_the_batchs_device() -> None:
    found = suggest_mode(Two, (torch.randn(8, 4), torch.randn(8, 4)), 3, n_steps=2)
    assert found.n_members == 3
    assert min(found.batch_seconds, found.loop_seconds) > 0
    assert found.device == "cpu"


def test_the_faster_way_is_suggested_with_the_figures() -> None:
    batch = SuggestedMode(20, batch_seconds=0.002, loop_seconds=0.008, device="cpu")
    assert batch.mode == "batch"
    assert batch.speedup == 4
    assert str(batch) == (
        "batch: a step of 20 members takes 2.00 ms as a batch and 8.00 ms in a loop "
        "(4.00 times as fast as a batch, on cpu)"
    )
    assert SuggestedMode(20, 0.008, 0.002, "cpu").mode == "loop"


def test_random_numbers_go_on_as_if_nothing_had_been_drawn() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    suggest_mode(lambda: nn.Sequential(nn.Linear(4, 2), nn.Dropout()), torch.randn(0, 4), 2)
    assert torch.equal(torch.rand(3), expected)


def test_a_wrong_argument_is_named() -> None:
    with pytest.raises(TypeError, match="`batch` must be a tensor or a tuple with one"):
        suggest_mode(lambda: nn.Linear(4, 2), [1.0], 2)
    with pytest.raises(ValueError, match="`n_members` must be at least 1 but got 0"):
        suggest_mode(lambda: nn.Linear(4, 2), torch.randn(2, 4), 0)
