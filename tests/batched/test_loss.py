"""`cross_entropy` of a stack is torch's of each member."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (everybody's name for it)

from epbt_optuna.batched import cross_entropy, each

P, N, C = 3, 5, 4
SHARES = torch.tensor([0.0, 0.2, 1.0], dtype=torch.float64)
WEIGHT = torch.tensor([1.0, 2.0, 0.5, 1.5], dtype=torch.float64)


def data(kind: str, *inner: int) -> tuple[Tensor, Tensor]:
    """Return logits, and a target of each member."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(P, N, *inner, C, generator=generator, dtype=torch.float64)
    if kind == "probabilities":
        return logits, torch.rand(logits.shape, generator=generator, dtype=torch.float64)
    return logits, torch.randint(C, logits.shape[:-1], generator=generator)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, SHARES], ids=["none", "one", "each"])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["equal", "weighted"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("kind", ["indices", "ignored", "probabilities"])
@pytest.mark.parametrize("inner", [(), (2, 3)], ids=["batch", "picture"])
def test_each_members_loss_is_torchs(
    inner: tuple[int, ...], kind: str, reduction: str, weight: Tensor | None, smoothing: Any
) -> None:
    logits, target = data(kind, *inner)
    options: dict[str, Any] = {"weight": weight, "reduction": reduction}
    if kind == "ignored":
        options["ignore_index"] = 2
    for own_data in (True, False):
        given = each(target) if own_data else target[0]
        losses = cross_entropy(logits, given, label_smoothing=smoothing, **options)
        for i in range(P):
            label = target[i if own_data else 0]
            share = smoothing[i].item() if isinstance(smoothing, Tensor) else smoothing
            expected = F.cross_entropy(
                logits[i].movedim(-1, 1),
                label.movedim(-1, 1) if kind == "probabilities" else label,
                label_smoothing=share,
                **options,
            )
            torch.testing.assert_close(losses[i], expected, rtol=1e-12, atol=1e-12)


def test_gradients_are_those_of_each_members_own_loss() -> None:
    logits, target = data("indices")
    logits.requires_grad_()
    cross_entropy(logits, each(target), label_smoothing=SHARES).sum().backward()
    for i in range(P):
        own = logits[i].detach().requires_grad_()
        F.cross_entropy(own, target[i], label_smoothing=SHARES[i].item()).backward()
        assert logits.grad is not None
        torch.testing.assert_close(logits.grad[i], own.grad)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_smoothing": 2.0}, r"`label_smoothing` must be in \[0, 1\] but got 2.0"),
        ({"label_smoothing": torch.tensor([0.0, 0.1, 2.0])}, r"must be in \[0, 1\] but got 2.0"),
        ({"label_smoothing": torch.ones(2)}, r"must be a number or of shape \(3,\), for 3 members"),
        ({"reduction": "most"}, "`reduction` must be 'mean', 'sum' or 'none' but got 'most'"),
        ({"target": torch.zeros(P, N, dtype=torch.int64)}, r"`target` must have shape \(5,\)"),
        ({"target": each(torch.zeros(N, dtype=torch.int64))}, r"must have shape \(3, 5\)"),
        ({"logits": torch.zeros(N, C)}, r"must have shape \(P, N, ..., C\) but got \(5, 4\)"),
    ],
)
def test_a_wrong_argument_is_named(options: dict[str, Any], message: str) -> None:
    logits, target = data("indices")
    with pytest.raises(ValueError, match=message):
        cross_entropy(**{"logits": logits, "target": target[0], **options})
