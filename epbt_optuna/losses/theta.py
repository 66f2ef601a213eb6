"""What θ means for learning: when it learns at all, and which one stands in for cross-entropy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor

from epbt_optuna._internal.checks import check_integer, check_number
from epbt_optuna.losses.arguments import theta_in, theta_tensor

__all__ = ["Theta", "cross_entropy_like", "gradient_coefficients", "gradient_scale", "is_trainable"]

Theta: TypeAlias = Iterable[float] | Tensor
"""θ0, ..., θ7 in the paper's order."""

Number = TypeVar("Number", float, Tensor)

# What |s| counts as at least, as a share of its bound and as it is: see `taylor_glo_loss`.
_RELATIVE_FLOOR, _ABSOLUTE_FLOOR = 0.01, 0.001


def is_trainable(
    theta: Theta | Mapping[str, Any], n_classes: int, *, prefix: str = "theta_"
) -> bool:
    """Tell whether a network at uniform output learns: its first step makes true classes likelier.

    That is θ5 - θ1 θ6 + θ7 (1/2 - θ0) + θ6/n > 0, which half of all θ in [-10, 10]⁸ violate. As a
    sampler's predicate: `EPBTSampler(..., feasible=partial(is_trainable, n_classes=10))`.

    Args:
        theta: θ0, ..., θ7, or a trial's params (which may hold other parameters too).
        n_classes: Number of classes, n.
        prefix: What the names of θ begin with in params.

    Raises:
        TypeError: If `theta` does not hold real numbers, or `n_classes` is not an integer.
        ValueError: If `theta` does not hold eight finite numbers, or `n_classes` is less than 2.
    """
    check_integer("n_classes", n_classes, at_least=2)
    if isinstance(theta, Mapping):
        theta = theta_in(theta, prefix)
    a, _, _, c_hy = gradient_coefficients(theta_tensor(theta).tolist())
    return bool(a + c_hy / n_classes > 0)


def cross_entropy_like(n_classes: int, *, bound: float = 10.0) -> tuple[float, ...]:
    """Return a θ whose loss stands in for cross-entropy: a sound founder for a population.

    With probability t for the true class and the rest spread evenly, cross-entropy's gradient in
    the true class's logit is -(1 - t), and this loss's is 5 t (1 - t) times that: the family's
    least squares fit to a factor of 1, weighted by 1 - t. (A weight with a higher power of 1 - t
    would lower the logits of true classes that are almost learnt; with this one no output does.)

    What no θ can do: the factor t stays, so a sample whose true class has next to no probability
    is not learnt, where cross-entropy insists. And the scale ends at the bound: with the default
    one and n > 22 the factor is about 22/n of that, too little for many classes. `normalize=True`
    makes it 1 at uniform output, where training starts, and n²/(4 (n - 1)) at most: for many
    classes, divide the learning rate by about that.

    Args:
        n_classes: Number of classes, n.
        bound: The greatest |θi|: that of the range the population is searched in.

    Raises:
        TypeError: If an argument is not a number.
        ValueError: If `n_classes` is less than 2, or `bound` is not positive and finite.
    """
    check_integer("n_classes", n_classes, at_least=2)
    check_number("bound", bound)
    if bound <= 0:
        raise ValueError(f"`bound` must be positive but got {bound}.")
    # θ0 = -bound and θ1 = θ2 = θ3 = θ4 = 0 leave, for outputs t and o = (1 - t)/(n - 1),
    #   a + c_hy t + c_h (t - o)  with  a = θ5 + θ7 (1/2 + bound), c_hy = θ6, c_h = θ6 bound,
    # which must be n/t for cross-entropy's gradient, and here is 5 n (1 - t), if the bound allows.
    theta_6 = -5 / (1 + bound * n_classes / (n_classes - 1))
    a = 5 + theta_6 * bound / (n_classes - 1)
    theta_5 = theta_7 = a / (1.5 + bound)
    scale = min(n_classes, bound / max(theta_5, -theta_6))
    theta = (-bound, 0.0, 0.0, 0.0, 0.0, scale * theta_5, scale * theta_6, scale * theta_7)
    # Rounding may have taken the largest just over the bound, where a trial could not hold it.
    return tuple(float(max(-bound, min(number, bound))) for number in theta)


def gradient_coefficients(theta: Sequence[Number]) -> tuple[Number, Number, Number, Number]:
    """Return a, c_h, c_hh and c_hy, on which the gradient in the logits depends, and no more.

    With one-hot x and true class t, dL/dz_i = -1/n y_i (g_i - Σ y_j g_j), and for another class j
    g_t - g_j = a + c_hy y_t + c_h (y_t - y_j) + c_hh (y_t² - y_j²).
    """
    t0, t1, _, t3, t4, t5, t6, t7 = theta
    return t5 - t1 * t6 + t7 * (0.5 - t0), t3 - t4 * t1 - t6 * t0, t4 / 2, t6


def gradient_scale(theta: Sequence[Number], n_classes: int) -> Number:
    """Return n²/|s|, |s| held above its floor: see `taylor_glo_loss`."""
    a, c_h, c_hh, c_hy = gradient_coefficients(theta)
    floor = _RELATIVE_FLOOR * (abs(a) + abs(c_h) + abs(c_hh) + abs(c_hy))
    size = abs(a + c_hy / n_classes)
    if isinstance(size, Tensor):
        return n_classes**2 / torch.maximum(size, floor).clamp(min=_ABSOLUTE_FLOOR)
    return n_classes**2 / max(size, floor, _ABSOLUTE_FLOOR)
