"""Each member's gradients are clipped by its own norm."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from epbt_optuna.batched import clip_grad_norm_

P = 3


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for shape in [(P,), (P, 2), (P, 2, 3)]:
        parameter = nn.Parameter(torch.zeros(shape, dtype=torch.float64))
        parameter.grad = 3 * torch.randn(shape, generator=generator, dtype=torch.float64)
        made.append(parameter)
    frozen = nn.Parameter(torch.zeros(P, 4))
    return [*made, frozen]


@pytest.mark.parametrize("norm_type", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("max_norm", [2.0, torch.tensor([0.5, 1000.0, 2.0])], ids=["one", "each"])
def test_norms_and_gradients_are_those_of_torchs_for_each_member(
    max_norm: float | Tensor, norm_type: float
) -> None:
    stacked = parameters()
    alone = [[nn.Parameter(p.detach()[i].clone()) for p in stacked] for i in range(P)]
    for i, own in enumerate(alone):
        for parameter, source in zip(own, stacked, strict=True):
            parameter.grad = None if source.grad is None else source.grad[i].clone()

    norms = clip_grad_norm_(stacked, max_norm, norm_type)

    for i, own in enumerate(alone):
        most = max_norm[i].item() if isinstance(max_norm, Tensor) else max_norm
        expected = nn.utils.clip_grad_norm_(own, most, norm_type)
        torch.testing.assert_close(norms[i], expected)
        for parameter, source in zip(own, stacked, strict=True):
            if source.grad is not None:
                torch.testing.assert_close(source.grad[i], parameter.grad)


def test_without_gradients_norms_are_zero() -> None:
    norms = clip_grad_norm_([nn.Parameter(torch.ones(P, 2))], 1.0)
    torch.testing.assert_close(norms, torch.zeros(P))


def test_a_wrong_norm_is_named() -> None:
    with pytest.raises(ValueError, match="`max_norm` must be at least 0 but got -1"):
        clip_grad_norm_(parameters(), -1)
    with pytest.raises(ValueError, match=r"must be a number or of shape \(3,\), for 3 members"):
        clip_grad_norm_(parameters(), torch.ones(2))
    with pytest.raises(ValueError, match="must hold those of a stack but are none"):
        clip_grad_norm_([], 1.0)
