"""Cross-entropy of each member, whose label smoothing may differ."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (everybody's name for it)

from epbt_optuna._internal.checks import check_probability
from epbt_optuna._internal.each import Each
from epbt_optuna.losses.arguments import check_reduction, check_target

__all__ = ["cross_entropy"]


def cross_entropy(
    logits: Tensor,
    target: Tensor | Each,
    *,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float | Tensor = 0.0,
) -> Tensor:
    """Compute `torch.nn.functional.cross_entropy` of each member.

    Args:
        logits: A stack's outputs, shape (P, N, ..., C), the classes last.
        target: Class indices (N, ...) or probabilities (N, ..., C) for all members; `each(target)`
            with P in front has those of each.
        weight: A weight for each class, shape (C,).
        ignore_index: A class index to leave out.
        reduction: `"mean"` or `"sum"` over a member's own samples, or `"none"`.
        label_smoothing: The share in [0, 1] of each label that is spread over all classes, a number
            for all members or a tensor of shape (P,).

    Returns:
        Shape (P,); without reduction (P, N, ...). Sum it before `backward()`: each member's
        gradients are then those of its own loss.

    Raises:
        TypeError: `logits` or `target` are no such tensors.
        ValueError: A shape does not fit, `reduction` is unknown, or a share is not in [0, 1].
    """
    check_reduction(reduction)
    if logits.ndim < 3:
        raise ValueError(f"`logits` must have shape (P, N, ..., C) but got {tuple(logits.shape)}.")
    n, n_classes = len(logits), logits.shape[-1]
    labels = check_target(target, logits, -1, ignore_index, members=True)
    if not isinstance(target, Each):
        labels = labels.expand(n, *labels.shape)
    is_index = not labels.is_floating_point()
    labels = labels.reshape(-1).long() if is_index else labels.reshape(-1, n_classes)
    options: dict[str, Any] = {"weight": weight, "ignore_index": ignore_index, "reduction": "none"}

    def losses(smoothing: float) -> Tensor:
        flat = logits.reshape(-1, n_classes)
        loss: Tensor = F.cross_entropy(flat, labels, label_smoothing=smoothing, **options)
        return loss.view(logits.shape[:-1])

    if isinstance(label_smoothing, Tensor):
        _check_shares(label_smoothing, n)
        share = label_smoothing.view(-1, *[1] * (logits.ndim - 2))
        loss = losses(0.0).lerp(losses(1.0), share.to(logits))  # it is linear in the share
    else:
        check_probability("label_smoothing", label_smoothing)
        loss = losses(label_smoothing)
    if reduction == "none":
        return loss
    total = loss.flatten(1).sum(1)
    if reduction == "sum":
        return total
    if not is_index:
        return total / loss[0].numel()
    # torch's mean is weighted: by the weights of the labels, without those that are left out.
    counts = labels != ignore_index
    weights = counts if weight is None else counts * weight[labels.where(counts, 0)]
    return total / weights.view(n, -1).sum(1)


def _check_shares(shares: Tensor, n: int) -> None:
    if shares.shape != (n,):
        raise ValueError(
            f"`label_smoothing` must be a number or of shape ({n},), for {n} members, but got "
            f"shape {tuple(shares.shape)}."
        )
    if shares.device.type != "cpu":  # to look would be to wait for an accelerator
        return
    for share in shares.tolist():
        check_probability("label_smoothing", share)
