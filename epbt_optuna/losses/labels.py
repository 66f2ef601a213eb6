"""What `torch.nn.CrossEntropyLoss` knows of labels: classes left out, smoothing, weights, means."""

from __future__ import annotations

import torch
from torch import Tensor

from epbt_optuna.losses.arguments import check_label, extremes
from epbt_optuna.losses.equation import one_hot

__all__ = ["for_each_member", "label_weights", "reduced", "smoothed", "without_ignored"]


def without_ignored(
    target: Tensor, ignore_index: int, logits: Tensor, dim: int
) -> tuple[Tensor, Tensor | None]:
    """Return checked labels with class 0 in place of `ignore_index`, and where it was, if anywhere.

    Probabilities come back as they are, with None.
    """
    if target.is_floating_point():
        check_label(target, logits, dim, extremes(target))
        return target, None
    target = target.long()  # in uint8, -100 would be taken for 156
    if found := extremes(target):
        lowest, highest = found
        if not lowest <= ignore_index <= highest:  # so there is no need of a mask
            check_label(target, logits, dim, found)
            return target, None
    ignored = target == ignore_index
    label = target.masked_fill(ignored, 0)
    check_label(label, logits, dim, extremes(label))
    return label, ignored


def for_each_member(
    label: Tensor, ignored: Tensor | None, logits: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Return labels, and where they are ignored, for each member: views of what they share."""
    shape = logits.shape if label.is_floating_point() else logits.shape[:-1]
    return label.expand(shape), None if ignored is None else ignored.expand(shape)


def smoothed(label: Tensor, logits: Tensor, share: float, dim: int) -> Tensor:
    """Return labels as probabilities, with this share of each spread evenly over all classes."""
    x = label.to(logits.dtype) if label.is_floating_point() else one_hot(label, logits, dim)
    return x * (1 - share) + share / logits.shape[dim]


def label_weights(label: Tensor, weight: Tensor, dim: int) -> Tensor:
    """Return the weight of each label: its class's, or the mean of its classes', Σ x_i weight_i."""
    if not label.is_floating_point():
        return weight[label]
    # No matrix product, which autocast would compute in half precision.
    return (label.movedim(dim, -1).to(weight.dtype) * weight).sum(-1)


def reduced(
    losses: Tensor,
    label: Tensor,
    weight: Tensor | None,
    ignored: Tensor | None,
    reduction: str,
    n_kept: int,
) -> Tensor:
    """Return the sum or the mean of losses that are weighted, and 0 where ignored."""
    if reduction == "none":
        return losses
    dims = tuple(range(n_kept, losses.ndim))
    if reduction == "sum":
        return losses.sum(dims)
    if label.is_floating_point() or (weight is None and ignored is None):
        return losses.mean(dims)
    counts = torch.ones_like(losses) if weight is None else weight[label]
    if ignored is not None:
        counts = counts.masked_fill(ignored, 0)
    return losses.sum(dims) / counts.sum(dims)
