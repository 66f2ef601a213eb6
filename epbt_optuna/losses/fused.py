"""Equation (1) for class indices, with the fewest passes over the logits.

With y = softmax(logits) and the sums over n classes taken apart, Σ y = 1, a sample's loss is

    L = -1/n [k + Σ (c_h y_i²/2 + c_hh y_i³/3) + a y_t + c_hy y_t²/2]  for the true class t,

with the numbers of `gradient_coefficients` and a constant k, and its gradient is

    dL/dz_i = -1/n y_i (d_i - Σ y_j d_j)  with  d_i = c_h y_i + c_hh y_i² [+ a + c_hy y_t if i = t].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from epbt_optuna.losses.equation import true_classes
from epbt_optuna.losses.theta import gradient_coefficients, gradient_scale

__all__ = ["Cubics", "cubics", "cubics_of_numbers", "fused_loss"]

Number = TypeVar("Number", float, Tensor)

# Rows shorter than a vector register are what torch's own softmax takes number by number.
_SHORT = 16


class Cubics(NamedTuple, Generic[Number]):
    """The numbers above, each times -1/n (and the scale of `normalize`).

    Tensors are the numbers of members, and are broadcast to their logits.
    """

    k: Number
    a: Number
    c_h: Number
    c_hh: Number
    c_hy: Number


def cubics(theta: Sequence[Number], n_classes: int, normalize: bool) -> Cubics[Number]:
    """Return what the loss for class indices is made of."""
    t0, t1, t2, t3, t4, t5, t6, t7 = theta
    a, c_h, c_hh, c_hy = gradient_coefficients(theta)
    # Powers of y in the cubic of a class that is not true: u = y - θ1, w = -θ0.
    in_u, in_u2 = t2 + t0 * (t0 * t7 / 2 - t5), (t3 - t0 * t6) / 2
    constant = t1 * (t1 * (in_u2 - t1 * t4 / 6) - in_u)
    linear = in_u + t1 * (t1 * t4 / 2 - 2 * in_u2)
    # And the constant of what the true class has more: u = -θ1 there.
    more = t1 * (t1 * t6 / 2 - t5 - t7 * (0.5 - t0))
    k = n_classes * constant + linear + more
    scale = gradient_scale(theta, n_classes) if normalize else 1.0
    scale = scale / -n_classes
    return Cubics(k * scale, a * scale, c_h * scale, c_hh * scale, c_hy * scale)


@lru_cache(maxsize=1024)  # of a population of losses, each is used for many batches
def cubics_of_numbers(theta: tuple[float, ...], n_classes: int, normalize: bool) -> Cubics[float]:
    """Return `cubics` for θ as numbers."""
    return cubics(theta, n_classes, normalize)


def fused_loss(
    logits: Tensor,
    target: Tensor,
    cubics: Cubics[float] | Cubics[Tensor],
    dim: int,
    reduction: str,
    n_kept: int,
) -> Tensor | None:
    """Return the loss for class indices, or None inside a transform of `torch.func`.

    Args:
        logits: Unscaled outputs.
        target: Class indices, int64.
        cubics: From θ.
        dim: The dimension of the classes, negative.
        reduction: As for `taylor_glo_loss`.
        n_kept: How many leading dimensions are not reduced.
    """
    try:
        loss: Tensor = _Fused.apply(logits, target, cubics, dim, reduction, n_kept)
    except RuntimeError as error:
        if "setup_context" not in str(error):
            raise
        # torch refuses, before anything is computed, a function without `setup_context` inside a
        # transform. With it, each call would cost a third more.
        return None
    return loss


class _Fused(torch.autograd.Function):
    """The reduced loss. Its gradient is computed beside it, where y is at hand, and kept."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        target: Tensor,
        cubics: Cubics[Any],
        dim: int,
        reduction: str,
        n_kept: int,
    ) -> Tensor:
        losses, gradient = _losses_and_gradient(
            logits, target, cubics, dim, ctx.needs_input_grad[0]
        )
        ctx.save_for_backward(logits, target, gradient)
        ctx.cubics, ctx.dim = cubics, dim
        if reduction == "none":
            ctx.share, ctx.shape = 1.0, list(logits.shape)
            ctx.shape[dim] = 1
            return losses
        samples = losses.shape[n_kept:]
        n_samples = math.prod(samples)
        ctx.share = 1.0 if reduction == "sum" else 1 / max(n_samples, 1)
        ctx.shape = [*losses.shape[:n_kept], *[1] * (logits.ndim - n_kept)]
        dims = tuple(range(n_kept, losses.ndim))
        return losses.sum(dims) if reduction == "sum" else losses.mean(dims)

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the kept gradient; for second derivatives, compute it so that it has its own."""
        logits, target, gradient = ctx.saved_tensors
        if torch.is_grad_enabled():
            gradient = _gradient(logits, target, ctx.cubics, ctx.dim, grad_loss.dtype)
        outer = (grad_loss * ctx.share).reshape(ctx.shape)
        return (gradient * outer).to(logits.dtype), None, None, None, None, None


def _losses_and_gradient(
    logits: Tensor, target: Tensor, cubics: Cubics[Any], dim: int, with_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Return each sample's loss and, where asked for, its gradient, in two buffers for both."""
    k, a, c_h, c_hh, c_hy = cubics
    y = _softmax(logits, dim)
    index = target.unsqueeze(dim)
    y_t = y.gather(dim, index)
    of_true = (y_t * c_hy).add_(a).mul_(y_t)
    squares = torch.linalg.vector_norm(y, 2, dim, keepdim=True).square_()
    terms = (y * c_hh).add_(c_h).mul_(y).mul_(y)  # y_i d_i, were i not true
    total = terms.sum(dim, keepdim=True)
    # Σ (c_h y²/2 + c_hh y³/3) from these two sums, and of_true less its half c_hy y_t²/2.
    losses = squares.mul_(c_h / 6).add_(total, alpha=1 / 3)
    losses.add_((of_true + y_t * a).mul_(0.5)).add_(k)
    if not with_gradient:
        return losses.squeeze(dim), None
    total.add_(of_true)
    gradient = terms.scatter_add_(dim, index, of_true).addcmul_(y, total, value=-1)
    return losses.squeeze(dim), gradient


def _gradient(
    logits: Tensor, target: Tensor, cubics: Cubics[Any], dim: int, dtype: torch.dtype
) -> Tensor:
    """Return each sample's gradient, as operations that have derivatives themselves."""
    _, a, c_h, c_hh, c_hy = cubics
    y = torch.softmax(logits, dim, dtype=dtype)
    slope = y * (c_h + c_hh * y) + true_classes(target, logits, dim) * (a + c_hy * y)
    in_y = y * slope
    return in_y - y * in_y.sum(dim, keepdim=True)


def _softmax(logits: Tensor, dim: int) -> Tensor:
    """Return softmax(logits), in float64 for float64, else in float32."""
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    if dim == -1 and logits.shape[dim] < _SHORT and logits.device.type == "cpu":
        logits = logits.to(dtype)
        y = (logits - logits.amax(dim, keepdim=True)).exp_()
        return y.div_(y.sum(dim, keepdim=True))
    return torch.softmax(logits, dim, dtype=dtype)
