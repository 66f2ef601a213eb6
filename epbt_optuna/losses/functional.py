"""The TaylorGLO loss as a function.

Labels, weights and reductions are those of `torch.nn.functional.cross_entropy`; `equation.py` has
the loss of a sample, and `fused.py` what is used of it for θ as numbers and class indices.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from epbt_optuna._internal.checks import check_boolean
from epbt_optuna._internal.each import Each
from epbt_optuna.losses.arguments import (
    check_classes,
    check_label_options,
    check_logits,
    check_members,
    check_reduction,
    check_same_device,
    check_target,
    check_weight,
    theta_numbers,
    theta_tensor,
)
from epbt_optuna.losses.equation import Equation1, class_dim
from epbt_optuna.losses.fused import Cubics, cubics, cubics_of_numbers, fused_loss
from epbt_optuna.losses.labels import (
    for_each_member,
    label_weights,
    reduced,
    smoothed,
    without_ignored,
)
from epbt_optuna.losses.theta import Theta, gradient_scale

__all__ = ["taylor_glo_loss"]


def taylor_glo_loss(
    logits: Tensor,
    target: Tensor | Each,
    theta: Theta,
    *,
    reduction: str = "mean",
    normalize: bool = False,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Compute the TaylorGLO loss, equation (1).

    Shapes, labels, weights and reductions are those of `torch.nn.functional.cross_entropy`.
    Differentiable, also twice, in `logits`, `theta` and a `target` of probabilities, in reverse
    mode. Under `torch.func.vmap` a population of models, each with its own θ, trains in one call;
    so it does, and faster, with a `theta` of shape (P, 8), for P members' losses at once.

    Class indices without smoothing cost least, with θ as numbers or of shape (P, 8): the gradient
    in `logits` is then computed along with the loss, where `logits` require it.

    Args:
        logits: Unscaled outputs, shape (C,), (N, C) or (N, C, d1, ...), for C classes, two or
            more. Half-precision logits are computed in float32. Members' logits have shape
            (P, B, ..., C), and the classes last.
        target: Class indices, integers of the shape of `logits` without C, or class
            probabilities, floating point of the shape of `logits`. All members share it, so it
            has no P, unless it is marked as theirs, `each(target)`.
        theta: θ0, ..., θ7 in the paper's order; or those of P members, a tensor of shape (P, 8).
        reduction: `"mean"` or `"sum"` over the samples, or `"none"`: a loss for each. The mean is
            weighted: for class indices, the sum is divided by that of the samples' class weights.
        normalize: Scale the loss so that its gradient at uniform output, where training starts,
            is as large as cross-entropy's: one learning rate then suits all θ. Unscaled it is
            |s|/n² times as large, with s = a + c_hy/n, a = θ5 - θ1 θ6 + θ7 (1/2 - θ0), c_hy = θ6,
            c_h = θ3 - θ4 θ1 - θ6 θ0 and c_hh = θ4/2, so the scale is n²/|s|; what is not
            trainable stays so. Where s all but cancels, the gradient would explode once the
            output is no longer uniform, so |s| counts as at least 1 % of its bound for any
            output, |a| + |c_h| + |c_hh| + |c_hy|, and as at least 0.001, so that no rounding
            error is blown up. This holds back 0.7 % of all θ in [-10, 10]⁸ and keeps the gradient
            in a logit, for class indices, below 25 n. The scale is part of the function:
            gradients in `theta` pass through it. Default: the paper's loss, unscaled.
        weight: A weight for each class, shape (C,). A sample's loss is multiplied by its class's,
            or, for probabilities and smoothed labels, by its label's mean weight Σ x_i weight_i.
        ignore_index: A class index to leave out: such samples have loss and gradient 0, and do not
            count in the mean (which is NaN where no others are left).
        label_smoothing: The share in [0, 1] of each label x that is spread evenly over all classes.

    Returns:
        The loss: a scalar, or with `"none"` of the shape of `logits` without C; members' losses
        have shape (P,), or with `"none"` (P, B, ...). float64 for float64 logits, else float32. A
        member's loss and gradient do not depend on another's logits, not even where those are NaN.

    Raises:
        TypeError: If `logits`, `target` or `weight` is not a tensor, or of a dtype that is not
            described above, or if `theta` does not hold real numbers.
        ValueError: If `theta` does not hold eight finite numbers, for each member of `logits`, or
            is a tensor on another device than `logits`, if there are fewer than two classes, if
            shapes or devices do not fit, if a class index is out of range, if a probability is
            negative or not finite, if those of a single sample, shape (C,), do not sum to 1 (binary
            cross-entropy's batches have that shape), or if an option is out of its range. Values
            are looked at where that is free: not on accelerators, nor under `torch.compile` or
            `vmap`, where torch itself stops at a class index out of range.
    """
    check_boolean("normalize", normalize)
    check_reduction(reduction)
    check_label_options(ignore_index, label_smoothing)
    check_logits(logits)
    if not isinstance(theta, Tensor):
        theta = theta_numbers(theta)
    members = isinstance(theta, Tensor) and theta.ndim == 2
    if isinstance(theta, Tensor):
        check_same_device("theta", theta_tensor(theta, members=True), logits)
        if members:
            check_members(theta, logits)
    dim = -1 if members else class_dim(logits)
    check_classes(logits, dim)
    target = check_target(target, logits, dim, ignore_index, members=members)
    check_weight(weight, logits, dim)
    label, ignored = without_ignored(target, ignore_index, logits, dim)
    if members:
        label, ignored = for_each_member(label, ignored, logits)
    n_kept = int(members)  # of the losses' dimensions, when they are reduced
    plain = weight is None and ignored is None
    losses = None
    if label_smoothing == 0 and _can_be_fused(label, theta):
        losses = _fused(logits, label, theta, dim, normalize, reduction if plain else "none")
        if plain and losses is not None:
            return losses
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    x = smoothed(label, logits.to(dtype), label_smoothing, dim) if label_smoothing > 0 else label
    if losses is None:
        theta = _along_logits(theta, logits)
        losses = Equation1.apply(logits, x, theta, dim)
        if normalize:
            scale = gradient_scale(theta.unbind(), logits.shape[dim])
            losses = losses * (scale.squeeze(dim) if members else scale)
    if weight is not None:
        weight = weight.to(dtype)
        losses = losses * label_weights(x, weight, dim)
    if ignored is not None:
        losses = losses.masked_fill(ignored, 0)
    return reduced(losses, label, weight, ignored, reduction, n_kept)


def _can_be_fused(label: Tensor, theta: tuple[float, ...] | Tensor) -> bool:
    """Tell whether labels are class indices and θ has no derivative and is not to be traced."""
    if label.is_floating_point() or torch.compiler.is_compiling():
        return False
    return isinstance(theta, tuple) or (theta.ndim == 2 and not theta.requires_grad)


def _fused(
    logits: Tensor,
    label: Tensor,
    theta: tuple[float, ...] | Tensor,
    dim: int,
    normalize: bool,
    reduction: str,
) -> Tensor | None:
    """Return the reduced loss, or None inside a transform of `torch.func`."""
    n_kept = 0 if isinstance(theta, tuple) else 1
    n_samples = label.numel() // (len(label) if n_kept else 1) if reduction == "mean" else 1
    if reduction == "none":
        n_kept = label.ndim
    of = logits.shape[dim], normalize, n_samples
    found: Cubics[float] | Cubics[Tensor]
    if isinstance(theta, tuple):
        found = cubics_of_numbers(theta, *of)
    else:
        found = _cubics_of_members(theta, logits, *of)
    return fused_loss(logits, label, found, dim, n_kept)


# As long as a θ lives: it is the same one from batch to batch.
_OF_MEMBERS: MutableMapping[Tensor, dict[tuple[Any, ...], Cubics[Tensor]]] = WeakIdKeyDictionary()


def _cubics_of_members(
    theta: Tensor, logits: Tensor, n_classes: int, normalize: bool, n_samples: int
) -> Cubics[Tensor]:
    """Return `cubics` of members: as many operations as all others of a small batch, so kept."""
    if theta.is_inference():  # which does not count its changes
        return cubics(_along_logits(theta, logits).unbind(), n_classes, normalize, n_samples)
    kept = _OF_MEMBERS.setdefault(theta, {})
    key = theta._version, n_classes, normalize, n_samples, logits.ndim, logits.dtype
    if (found := kept.get(key)) is None:
        if len(kept) >= 16:
            kept.clear()
        with torch.inference_mode(False):  # it may be part of a graph later
            rows = _along_logits(theta, logits).unbind()
            found = kept[key] = cubics(rows, n_classes, normalize, n_samples)
    return found


def _along_logits(theta: tuple[float, ...] | Tensor, logits: Tensor) -> Tensor:
    """Return θ0, ..., θ7 along the first dimension, of the dtype in which the loss is computed.

    Those of members have as many further dimensions as `logits`.
    """
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    if isinstance(theta, tuple):
        return torch.tensor(theta, dtype=dtype, device=logits.device)
    theta = theta.to(dtype)
    return theta if theta.ndim == 1 else theta.t().reshape(8, -1, *[1] * (logits.ndim - 1))
