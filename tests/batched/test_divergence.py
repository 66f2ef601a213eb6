"""A member that diverges leaves the others alone, to the last bit."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from epbt_optuna.batched import SGD, AdamW, Stack, clip_grad_norm_, cross_entropy, stack

P, DIVERGING, N_STEPS = 4, 2, 12


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


class Pictures(nn.Module):
    """Computed by vmap: a convolution, whose members are groups of one, and attention."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Sequential(nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.GELU())
        self.attention = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.attention(self.convolution(x.unsqueeze(1)).mT)
        logits: Tensor = self.head(tokens.mean(1))
        return logits


def train(
    build: Callable[[], nn.Module], optimizer: type[SGD | AdamW], diverge_at: float | None
) -> Stack:
    """Train, with one member's weights, and so its gradients, no numbers from step 3 on."""
    torch.manual_seed(0)
    model = stack(build, P)
    lr = torch.tensor([0.01, 0.02, 0.03, 0.04])
    steps = optimizer(model.parameters(), lr=lr, weight_decay=0.01)
    if optimizer is SGD:
        steps.param_groups[0]["momentum"] = torch.tensor([0.9, 0.0, 0.5, 0.9])
    for step in range(N_STEPS):
        if step == 3 and diverge_at is not None:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter[DIVERGING] = diverge_at
        x, y = torch.randn(16, 6), torch.randint(3, (16,))
        cross_entropy(model(x), y).sum().backward()
        clip_grad_norm_(model.parameters(), 0.5)
        steps.step()
        steps.zero_grad()
    return model


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30], ids=str)
@pytest.mark.parametrize("optimizer", [SGD, AdamW])
@pytest.mark.parametrize("build", [perceptron, Pictures])
@pytest.mark.usefixtures("device")
def test_the_others_weights_are_bit_equal_to_a_run_without_divergence(
    build: Callable[[], nn.Module], optimizer: type[SGD | AdamW], value: float
) -> None:
    expected = train(build, optimizer, None)
    model = train(build, optimizer, value)
    for i in range(P):
        state = model.member_state_dict(i)
        if i == DIVERGING:
            assert not all(tensor.isfinite().all() for tensor in state.values())
        else:
            assert all(tensor.isfinite().all() for tensor in state.values())
            torch.testing.assert_close(state, expected.member_state_dict(i), rtol=0, atol=0)
