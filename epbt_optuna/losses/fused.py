"""Equation (1) for class indices, with the fewest passes over the logits.

With y = softmax(logits) and the sums over n classes taken apart, Σ y = 1, a sample's loss is

    L = -1/n [k + Σ (c_h y_i²/2 + c_hh y_i³/3) + a y_t + c_hy y_t²/2]  for the true class t,

with the numbers of `gradient_coefficients` and a constant k, and its gradient is

    dL/dz_i = -1/n y_i (d_i - Σ y_j d_j)  with  d_i = c_h y_i + c_hh y_i² [+ a + c_hy y_t if i = t].
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from types import ModuleType
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor

from epbt_optuna.losses.equation import true_classes
from epbt_optuna.losses.theta import gradient_coefficients, gradient_scale

__all__ = ["Cubics", "cubics", "cubics_of_numbers", "fused_loss"]

Number = TypeVar("Number", float, Tensor)

# Rows shorter than a vector register are what torch's own softmax takes number by number.
_SHORT = 16


# A NamedTuple cannot be generic before Python 3.11.
Cubics: TypeAlias = tuple[Number, Number, Number, Number, Number]
"""k, a, c_h, c_hh and c_hy, each times -1/n, and times what scales the loss.

Tensors are the numbers of members, and are broadcast to their logits.
"""


def cubics(
    theta: Sequence[Number], n_classes: int, normalize: bool, n_samples: int
) -> Cubics[Number]:
    """Return what the loss for class indices is made of, divided by `n_samples`."""
    t0, t1, t2, t3, t4, t5, t6, t7 = theta
    a, c_h, c_hh, c_hy = gradient_coefficients(theta)
    # The cubic of a class that is not true, w = -θ0, in powers of u and of y = u + θ1 ...
    in_u, in_u2 = t2 + t0 * (t0 * t7 / 2 - t5), (t3 - t0 * t6) / 2
    constant = t1 * (t1 * (in_u2 - t1 * t4 / 6) - in_u)
    linear = in_u + t1 * (t1 * t4 / 2 - 2 * in_u2)
    # ... and the constant of what the true class has more.
    more = t1 * (t1 * t6 / 2 - t5 - t7 * (0.5 - t0))
    k = n_classes * constant + linear + more
    scale = gradient_scale(theta, n_classes) if normalize else 1.0
    scale = scale / (-n_classes * n_samples)
    return k * scale, a * scale, c_h * scale, c_hh * scale, c_hy * scale


@lru_cache(maxsize=1024)  # each of a population of losses is used for many batches
def cubics_of_numbers(
    theta: tuple[float, ...], n_classes: int, normalize: bool, n_samples: int
) -> Cubics[float]:
    """Return `cubics` for θ as numbers."""
    return cubics(theta, n_classes, normalize, n_samples)


def fused_loss(
    logits: Tensor,
    target: Tensor,
    cubics: Cubics[float] | Cubics[Tensor],
    dim: int,
    n_kept: int,
) -> Tensor | None:
    """Return the loss for class indices, or None inside a transform of `torch.func`.

    Args:
        logits: Unscaled outputs.
        target: Class indices, int64.
        cubics: From θ.
        dim: The dimension of the classes, negative.
        n_kept: Over how many leading dimensions the losses are not summed.
    """
    try:
        need_gradient = logits.requires_grad and torch.is_grad_enabled()
        loss: Tensor = _Fused.apply(logits, target, cubics, dim, n_kept, need_gradient)
    except RuntimeError as error:
        if "setup_context" not in str(error):
            raise
        # torch refuses, before anything is computed, a function without `setup_context` inside a
        # transform. With it, each call would cost a third more.
        return None
    return loss


class _Fused(torch.autograd.Function):
    """The summed losses. Their gradient is computed beside them, where y is at hand, and kept."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        target: Tensor,
        cubics: Cubics[Any],
        dim: int,
        n_kept: int,
        need_gradient: bool,
    ) -> Tensor:
        dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
        if not isinstance(cubics[0], Tensor):
            cubics = _as_tensors(cubics, dtype, logits.device)
        losses: Tensor
        if kernels := _kernels(logits, dim):
            losses, gradient = kernels.losses(logits, target, cubics), None
        else:
            losses, gradient = _losses_and_gradient(logits, target, cubics, dim, need_gradient)
        if need_gradient:
            ctx.save_for_backward(logits, target, gradient)
            ctx.cubics, ctx.dim, ctx.n_kept = cubics, dim, n_kept
        if n_kept == target.ndim:
            return losses.squeeze(dim)
        return losses.sum() if n_kept == 0 else losses.flatten(n_kept).sum(n_kept)

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the kept gradient; for second derivatives, compute it so that it has its own."""
        logits, target, gradient = ctx.saved_tensors
        if torch.is_grad_enabled():
            gradient = _gradient(logits, target, ctx.cubics, ctx.dim, grad_loss.dtype)
        elif gradient is None and (kernels := _kernels(logits, ctx.dim)):
            return kernels.gradient(logits, target, ctx.cubics, grad_loss), *[None] * 5
        if ctx.n_kept == target.ndim:
            grad_loss = grad_loss.unsqueeze(ctx.dim)
        elif ctx.n_kept > 0:
            grad_loss = grad_loss.view(*grad_loss.shape, *[1] * (logits.ndim - ctx.n_kept))
        return (gradient * grad_loss).to(logits.dtype), *[None] * 5


_TENSORS: dict[tuple[Any, ...], Cubics[Tensor]] = {}


def _as_tensors(numbers: Cubics[float], dtype: torch.dtype, device: torch.device) -> Cubics[Tensor]:
    """Return numbers as tensors: an operation with a Python number takes twice the time to call."""
    key = numbers, dtype, device
    if (found := _TENSORS.get(key)) is None:
        with torch.inference_mode(False):  # what is kept may be part of a graph later
            made = torch.tensor(numbers, dtype=dtype, device=device)
        k, a, c_h, c_hh, c_hy = made.unbind()
        found = k, a, c_h, c_hh, c_hy
        if type(made) is Tensor:  # and not the fake of a mode that only looks at shapes
            if len(_TENSORS) >= 1024:
                _TENSORS.clear()
            _TENSORS[key] = found
    return found


def _kernels(logits: Tensor, dim: int) -> ModuleType | None:
    """Return the module of kernels for these logits, where they can be used."""
    if not logits.is_cuda or dim != -1 or logits.dtype == torch.float64:
        return None
    kernels = _kernels_on(logits.device)
    return kernels if kernels and logits.shape[dim] <= kernels.MAX_CLASSES else None


@cache
def _kernels_on(device: torch.device) -> ModuleType | None:
    """Return the module of kernels if one of them runs on the device.

    Whatever the reason is why one does not (no triton for this platform, too old a device, no C
    compiler for the launcher), torch's own operations compute the same.
    """
    try:
        from epbt_optuna.losses import triton_kernels

        one = torch.zeros(1, 2, device=device)
        triton_kernels.losses(
            one, torch.zeros(1, dtype=torch.long, device=device), (one[0, :1],) * 5
        )
    except Exception:
        return None
    return triton_kernels


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
    in_y = (y * c_hh).add_(c_h).mul_(y).mul_(y).scatter_add_(dim, index, of_true)  # y_i d_i
    total = in_y.sum(dim, keepdim=True)
    # Σ c_hh y³ = total - of_true - c_h Σ y², and c_hy y_t² = of_true - a y_t: no third sum, and
    # six times the loss is
    six = squares.mul_(c_h).add_(total, alpha=2).add_(of_true).add_(y_t.mul_(a), alpha=3)
    losses = torch.add(k, six, alpha=1 / 6)
    return losses, in_y.addcmul_(y, total, value=-1) if with_gradient else None


def _gradient(
    logits: Tensor, target: Tensor, cubics: Cubics[Any], dim: int, dtype: torch.dtype
) -> Tensor:
    """Return each sample's gradient, as operations that have derivatives themselves."""
    _, a, c_h, c_hh, c_hy = cubics
    y = torch.softmax(logits, dim, dtype=dtype)
    slope = y * (c_h + c_hh * y) + true_classes(target, logits, dim) * (a + c_hy * y)
    in_y: Tensor = y * slope
    return in_y - y * in_y.sum(dim, keepdim=True)


def _softmax(logits: Tensor, dim: int) -> Tensor:
    """Return softmax(logits), in float64 for float64, else in float32."""
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    if dim == -1 and logits.shape[dim] < _SHORT and logits.device.type == "cpu":
        whole = logits.to(dtype)
        y = (whole - whole.amax(dim, keepdim=True)).exp_()
        return y.div_(y.sum(dim, keepdim=True))
    return torch.softmax(logits, dim, dtype=dtype)
