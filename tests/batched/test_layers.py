"""Dropout that differs between members, in its masks and in its rates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from epbt_optuna.batched import Dropout, each, stack

RATES = torch.tensor([0.0, 0.3, 0.9, 1.0])
P, N = len(RATES), 20_000


class Scaled(nn.Module):
    """No chain of layers: dropout of an input that all share, then a parameter."""

    def __init__(self, dropout: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.dropout = dropout()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.dropout(x)
        return y * self.scale


def chained(dropout: Callable[[], nn.Module]) -> nn.Module:
    linear = nn.Linear(1, 1)
    nn.init.ones_(linear.weight)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(dropout(), linear)


@pytest.mark.parametrize("network", [Scaled, chained], ids=["vmap", "chain"])
@pytest.mark.parametrize("own_data", [False, True])
def test_each_member_drops_at_its_own_rate(
    network: Callable[[Any], nn.Module], own_data: bool
) -> None:
    torch.manual_seed(0)
    model = stack(lambda: network(lambda: Dropout(RATES)), P)
    x = torch.ones(N, 1)
    output = model(each(x.expand(P, N, 1)) if own_data else x)
    for i, rate in enumerate(RATES.tolist()):
        kept = output[i] != 0
        assert kept.float().mean().item() == pytest.approx(1 - rate, abs=4 * math.sqrt(0.25 / N))
        scale = 1 / (1 - rate) if rate < 1 else 0.0
        torch.testing.assert_close(output[i], kept * scale)
    output.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    torch.testing.assert_close(model.eval()(x), x.expand(P, N, 1))


@pytest.mark.parametrize("network", [Scaled, chained], ids=["vmap", "chain"])
@pytest.mark.parametrize("dropout", [nn.Dropout, Dropout])
@pytest.mark.parametrize("own_data", [False, True])
def test_masks_differ_between_members(
    network: Callable[[Any], nn.Module], dropout: type[nn.Module], own_data: bool
) -> None:
    torch.manual_seed(0)
    model = stack(lambda: network(lambda: dropout(0.5)), 2)
    x = torch.ones(N, 1)
    first, second = model(each(x.expand(2, N, 1)) if own_data else x) != 0
    assert (first == second).float().mean().item() == pytest.approx(0.5, abs=0.02)


def test_rates_are_not_in_a_members_state() -> None:
    model = stack(lambda: nn.Sequential(Dropout(RATES), nn.Linear(1, 1)), P)
    assert list(model.member_state_dict(0)) == ["1.weight", "1.bias"]


def test_alone_it_drops_as_torchs_does() -> None:
    torch.manual_seed(0)
    layer = Dropout(0.25)
    output = layer(torch.ones(N))
    assert (output != 0).float().mean().item() == pytest.approx(0.75, abs=0.02)
    assert output.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert layer.eval()(torch.ones(3)).tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="use the layer in a"):
        Dropout(RATES)(torch.ones(3))


@pytest.mark.parametrize(
    ("p", "error", "message"),
    [
        (1.5, ValueError, r"`p` must be in \[0, 1\] but got 1.5"),
        (torch.tensor([0.5, -0.5]), ValueError, r"`p` must be in \[0, 1\] but got \[0.5, -0.5\]"),
        (torch.ones(2, 2), ValueError, r"`p` must be a number or of shape \(P,\)"),
        ("0.5", TypeError, "`p` must be a number but got '0.5'"),
    ],
)
def test_a_wrong_rate_is_named(p: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Dropout(p)


def test_rates_of_other_members_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`p` of `0` must be a number or of shape \(3,\)"):
        stack(lambda: nn.Sequential(Dropout(RATES), nn.Linear(1, 1)), 3)
