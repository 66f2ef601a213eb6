"""Robust losses that others propose for wrong labels, with their constants for ten classes.

p is the softmax of the logits, y the given label, and p_y the probability of that. Each is the
mean over a batch.
"""

from __future__ import annotations

import math

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


class EarlyLearningRegularization(nn.Module):
    """CE + 3·ln(1 − ⟨t_i, p⟩), t_i ← 0.7·t_i + 0.3·p for each sample i (Liu et al. 2020).

    The targets t are what the network said of a sample in earlier epochs, before it learnt its
    label by heart. As theirs, p is clamped to [1e-4, 1 − 1e-4] in the second term, and what goes
    into t sums to 1.

    Args:
        n_samples: How many samples are trained on.
        n_classes: How many classes they are of.
    """

    targets: Tensor

    def __init__(self, n_samples: int, n_classes: int) -> None:
        super().__init__()
        self.register_buffer("targets", torch.zeros(n_samples, n_classes))

    def forward(self, logits: Tensor, labels: Tensor, samples: Tensor) -> Tensor:
        """Return the loss, and move the targets.

        Args:
            logits: Of shape (batch, classes).
            labels: Of shape (batch,).
            samples: Which samples these are, of shape (batch,).
        """
        p = logits.softmax(1).clamp(1e-4, 1 - 1e-4)
        seen = p.detach()
        seen = seen / seen.sum(1, keepdim=True)
        self.targets[samples] = targets = 0.7 * self.targets[samples] + 0.3 * seen
        agreement = (targets * p).sum(1)
        loss: Tensor = F.cross_entropy(logits, labels) + 3 * torch.log(1 - agreement).mean()
        return loss


ROBUST_LOSSES: dict[str, Loss] = {
    "symmetric cross-entropy": symmetric_cross_entropy,
    "NCE and RCE": nce_and_rce,
    "NCE and AGCE": nce_and_agce,
    "ε-softmax and MAE": epsilon_softmax_and_mae,
}
EARLY_LEARNING = "early-learning regularization"


def make_loss(name: str, n_samples: int, n_classes: int) -> Loss | EarlyLearningRegularization:
    """Return a loss by its name, for one network and the samples that it is trained on."""
    if name == EARLY_LEARNING:
        return EarlyLearningRegularization(n_samples, n_classes)
    return {**STANDARD_LOSSES, **ROBUST_LOSSES}[name]


def _given(values: Tensor, labels: Tensor) -> Tensor:
    """Return the value of each sample's label."""
    return values.gather(1, labels[:, None])[:, 0]
