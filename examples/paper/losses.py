"""Robust losses that others propose for wrong labels, with their constants for ten classes.

p is the softmax of the logits, y the given label, and p_y the probability of that. Each is the
mean over a batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812, PyTorch's own name for it

from examples.label_noise import STANDARD_LOSSES, Loss, mean_absolute_error

LOG_OF_ZERO = -math.log(1e-4)
"""What stands for −log 0 in reverse cross-entropy (A = −4 ln 10 in the paper)."""


def reverse_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """−Σ_k p_k·ln(one-hot_k), which is 9.21·(1 − p_y) (Wang et al. 2019)."""
    return LOG_OF_ZERO * (1 - _given(logits.softmax(1), labels)).mean()


def symmetric_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """0.1·CE + RCE (Wang et al. 2019)."""
    return 0.1 * F.cross_entropy(logits, labels) + reverse_cross_entropy(logits, labels)


def normalized_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Ln p_y / Σ_k ln p_k: cross-entropy as a share of that with every label (Ma et al. 2020)."""
    log_p = logits.log_softmax(1)
    return (_given(log_p, labels) / log_p.sum(1)).mean()


def nce_and_rce(logits: Tensor, labels: Tensor) -> Tensor:
    """NCE + RCE: an active and a passive loss (Ma et al. 2020)."""
    return normalized_cross_entropy(logits, labels) + reverse_cross_entropy(logits, labels)


def asymmetric_generalized_cross_entropy(
    logits: Tensor, labels: Tensor, a: float = 6.0, q: float = 1.5
) -> Tensor:
    """((a + 1)^q − (a + p_y)^q) / q (Zhou et al. 2021)."""
    p_y = _given(logits.softmax(1), labels)
    loss: Tensor = ((a + 1) ** q - (a + p_y) ** q) / q
    return loss.mean()


def nce_and_agce(logits: Tensor, labels: Tensor) -> Tensor:
    """NCE + 4·AGCE (Zhou et al. 2021)."""
    passive = asymmetric_generalized_cross_entropy(logits, labels)
    return normalized_cross_entropy(logits, labels) + 4 * passive


def epsilon_softmax_and_mae(logits: Tensor, labels: Tensor, m: float = 1e5) -> Tensor:
    """0.01·CE(p') + 5·MAE(p), p' = (p + m·one-hot(argmax p)) / (1 + m) (Wang et al. 2024).

    MAE is 2 − 2·p_y, as theirs. Logarithms are of the logits where p' is a multiple of p, so that
    a label of probability 0 has a finite loss and a gradient.
    """
    log_p = _given(logits.log_softmax(1), labels)
    is_predicted = logits.argmax(1) == labels
    log_moved = torch.where(is_predicted, torch.log(log_p.exp() + m), log_p) - math.log1p(m)
    return -0.01 * log_moved.mean() + 5 * mean_absolute_error(logits, labels)


def generalized_cross_entropy(logits: Tensor, labels: Tensor, q: float | Tensor) -> Tensor:
    """(1 − p_y^q) / q, the mean over the last dimension of the labels.

    Args:
        logits: Of shape (..., batch, classes).
        labels: Of shape (..., batch).
        q: A constant, or one for each network, of the shape of the result.
    """
    power = torch.as_tensor(q)[..., None]
    p_y = _given(logits.log_softmax(-1), labels).exp().clamp_min(1e-7)
    return ((1 - p_y**power) / power).mean(-1)


def weighted_symmetric_cross_entropy(
    logits: Tensor, labels: Tensor, ce_weight: float | Tensor, rce_weight: float | Tensor
) -> Tensor:
    """ce_weight·CE + rce_weight·RCE; shapes as for `generalized_cross_entropy`."""
    log_p = _given(logits.log_softmax(-1), labels)
    reverse = LOG_OF_ZERO * (1 - log_p.exp())
    return ce_weight * -log_p.mean(-1) + rce_weight * reverse.mean(-1)


class EarlyLearningRegularization(nn.Module):
    """CE + weight·ln(1 − ⟨t_i, p⟩), t_i ← momentum·t_i + (1 − momentum)·p (Liu et al. 2020).

    The targets t are what the network said of each sample i in earlier epochs, before it learnt its
    label by heart. As theirs, p is clamped to [1e-4, 1 − 1e-4] in the second term, and what goes
    into t sums to 1.

    Args:
        n_samples: How many samples are trained on.
        n_classes: How many classes they are of.
        weight: Theirs for CIFAR-10, or one for each network of a stack, of shape (P,).
        momentum: Likewise.
    """

    targets: Tensor

    def __init__(
        self,
        n_samples: int,
        n_classes: int,
        weight: float | Tensor = 3.0,
        momentum: float | Tensor = 0.7,
    ) -> None:
        super().__init__()
        of_each = weight.shape if isinstance(weight, Tensor) else ()
        self.register_buffer("targets", torch.zeros(*of_each, n_samples, n_classes))
        self.weight = weight
        self.momentum = momentum[:, None, None] if isinstance(momentum, Tensor) else momentum

    def forward(self, logits: Tensor, labels: Tensor, samples: Tensor) -> Tensor:
        """Return the loss, and move the targets; a stack has P in front of every shape.

        Args:
            logits: Of shape (batch, classes).
            labels: Of shape (batch,).
            samples: Which samples these are, of shape (batch,).
        """
        p = logits.softmax(-1).clamp(1e-4, 1 - 1e-4)
        seen = p.detach()
        seen = seen / seen.sum(-1, keepdim=True)
        rows = samples[..., None].expand_as(seen)
        targets = self.momentum * self.targets.gather(-2, rows) + (1 - self.momentum) * seen
        self.targets.scatter_(-2, rows, targets)
        agreement = (targets * p).sum(-1)
        cross_entropy = -_given(logits.log_softmax(-1), labels).mean(-1)
        loss: Tensor = cross_entropy + self.weight * torch.log(1 - agreement).mean(-1)
        return loss


ROBUST_LOSSES: dict[str, Loss] = {
    "symmetric cross-entropy": symmetric_cross_entropy,
    "NCE and RCE": nce_and_rce,
    "NCE and AGCE": nce_and_agce,
    "ε-softmax and MAE": epsilon_softmax_and_mae,
}
EARLY_LEARNING = "early-learning regularization"

AnyLoss: TypeAlias = Loss | EarlyLearningRegularization
"""Logits (batch, classes) and labels (batch,) to a loss; of a stack, with P in front of each."""


def make_loss(name: str, n_samples: int, n_classes: int, device: Any = "cpu") -> AnyLoss:
    """Return a loss by its name, for one network and the samples that it is trained on."""
    if name == EARLY_LEARNING:
        return EarlyLearningRegularization(n_samples, n_classes).to(device)
    return {**STANDARD_LOSSES, **ROBUST_LOSSES}[name]


def loss_on(loss_fn: AnyLoss, logits: Tensor, labels: Tensor, samples: Tensor) -> Tensor:
    """Return the loss on a batch; `samples` are the numbers of its images."""
    if isinstance(loss_fn, EarlyLearningRegularization):
        loss: Tensor = loss_fn(logits, labels, samples)
        return loss
    return loss_fn(logits, labels)


def memory_of(loss_fn: AnyLoss) -> dict[str, Any]:
    """Return what a loss has seen of the samples: an offspring inherits it with the weights."""
    return {"targets": loss_fn.targets} if isinstance(loss_fn, EarlyLearningRegularization) else {}


def go_on_with(loss_fn: AnyLoss, state: Mapping[str, Any]) -> None:
    """Give a loss the memory that is in an inherited state."""
    if isinstance(loss_fn, EarlyLearningRegularization):
        loss_fn.targets = state["targets"]


def _given(values: Tensor, labels: Tensor) -> Tensor:
    """Return the value of each sample's label; classes are last."""
    return values.gather(-1, labels[..., None])[..., 0]
