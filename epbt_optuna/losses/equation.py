"""Equation (1) of the EPBT paper (section 3.3) for each sample, with its gradient in closed form.

With y = softmax(logits), x the true label, n classes, u = y - θ1 and w = x - θ0, a sample's loss is

    L = -1/n Σ [θ2 u + θ3 u²/2 + θ4 u³/6 + θ5 w u + θ6 w u²/2 + θ7 w² u/2].
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from epbt_optuna.losses.theta import gradient_coefficients

__all__ = ["Equation1", "class_dim", "gradient_scale", "one_hot"]

# What |s| counts as at least, as a share of its bound and as it is: see `taylor_glo_loss`.
_RELATIVE_FLOOR, _ABSOLUTE_FLOOR = 0.01, 0.001


class Equation1(torch.autograd.Function):
    """The loss of each sample. Keeps only its inputs: softmax is cheap to compute again."""

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, target: Tensor, theta: Tensor) -> Tensor:
        """Compute equation (1)."""
        _, u, w = _centre(logits, target, theta)
        _, _, t2, t3, t4, t5, t6, t7 = theta.unbind()
        bracket = u * (t2 + u * (t3 / 2 + u * (t4 / 6)) + w * (t5 + u * (t6 / 2) + w * (t7 / 2)))
        return -bracket.mean(class_dim(logits))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        """Keep the inputs."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad_losses: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients that are asked for, in logits, target and θ."""
        logits, target, theta = ctx.saved_tensors
        need_logits, need_target, need_theta = ctx.needs_input_grad
        grad_logits = grad_target = grad_theta = None
        dim = class_dim(logits)
        y, u, w = _centre(logits, target, theta)
        _, _, t2, t3, t4, t5, t6, t7 = theta.unbind()
        outer = (grad_losses / -logits.shape[dim]).unsqueeze(dim)
        # The bracket's derivative in u, but for θ2, which cancels in the softmax's.
        in_u = u * (t3 + u * (t4 / 2)) + w * (t5 + u * t6 + w * (t7 / 2))
        if need_logits:
            in_y = y * in_u
            grad_logits = (outer * (in_y - y * in_y.sum(dim, keepdim=True))).to(logits.dtype)
        if need_target or need_theta:
            in_w = u * (t5 + u * (t6 / 2) + w * t7)
        if need_target:
            grad_target = (outer * in_w).to(target.dtype)
        if need_theta:
            in_theta = (-in_w, -in_u - t2, u, u**2 / 2, u**3 / 6, w * u, w * u**2 / 2, w**2 * u / 2)
            grad_theta = torch.stack([(outer * slope).sum() for slope in in_theta])
        return grad_logits, grad_target, grad_theta


def _centre(logits: Tensor, target: Tensor, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return y = softmax(logits), u = y - θ1 and w = x - θ0, all of the dtype of `theta`."""
    dim = class_dim(logits)
    y = torch.softmax(logits, dim, dtype=theta.dtype)
    x = target.to(y.dtype) if target.is_floating_point() else one_hot(target, y)
    return y, y - theta[1], x - theta[0]


def one_hot(target: Tensor, like: Tensor) -> Tensor:
    """Return class indices as probabilities, in shape and dtype as `like`."""
    # A tensor of ones, not the number: torch.compile turns the scatter of a number into a
    # comparison, which takes an index out of range in silence.
    dim = class_dim(like)
    index = target.long().unsqueeze(dim)
    return torch.zeros_like(like).scatter(dim, index, torch.ones_like(index, dtype=like.dtype))


def class_dim(logits: Tensor) -> int:
    """Return the dimension of the classes."""
    return 0 if logits.ndim == 1 else 1


def gradient_scale(theta: Tensor, n_classes: int) -> Tensor:
    """Return n²/|s|, |s| held above its floor: see `taylor_glo_loss`."""
    a, c_h, c_hh, c_hy = gradient_coefficients(theta.unbind())
    floor = _RELATIVE_FLOOR * (a.abs() + c_h.abs() + c_hh.abs() + c_hy.abs())
    size = torch.maximum((a + c_hy / n_classes).abs(), floor)
    return n_classes**2 / size.clamp(min=_ABSOLUTE_FLOOR)
