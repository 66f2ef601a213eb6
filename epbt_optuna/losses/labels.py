"""What `torch.nn.CrossEntropyLoss` knows of labels: classes left out, smoothing, weights."""

from __future__ import annotations

from torch import Tensor

from epbt_optuna.losses.equation import class_dim, one_hot

__all__ = ["label_weights", "smoothed", "without_ignored"]


def without_ignored(target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor | None]:
    """Return labels with class 0 in place of `ignore_index`, and where it was.

    Probabilities come back as they are, with None.
    """
    if target.is_floating_point():
        return target, None
    target = target.long()  # in uint8, -100 would be taken for 156
    ignored = target == ignore_index
    return target.masked_fill(ignored, 0), ignored


def smoothed(label: Tensor, logits: Tensor, share: float) -> Tensor:
    """Return labels as probabilities, with this share of each spread evenly over all classes."""
    x = label.to(logits.dtype) if label.is_floating_point() else one_hot(label, logits)
    return x * (1 - share) + share / logits.shape[class_dim(logits)]


def label_weights(label: Tensor, weight: Tensor, dim: int) -> Tensor:
    """Return the weight of each label: its class's, or the mean of its classes', Σ x_i weight_i."""
    if not label.is_floating_point():
        return weight[label]
    # No matrix product, which autocast would compute in half precision.
    return (label.movedim(dim, -1).to(weight.dtype) * weight).sum(-1)
