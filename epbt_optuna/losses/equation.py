"""Equation (1) of the EPBT paper (section 3.3) for each sample, with its gradient in closed form.

With y = softmax(logits), x the true label, n classes, u = y - θ1 and w = x - θ0, a sample's loss is

    L = -1/n Σ [θ2 u + θ3 u²/2 + θ4 u³/6 + θ5 w u + θ6 w u²/2 + θ7 w² u/2].

Here θ are tensors: for gradients in them, for transforms, for labels that are probabilities.
`fused.py` has what costs less, for θ as numbers and class indices.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["Equation1", "class_dim", "one_hot", "true_classes"]


class Equation1(torch.autograd.Function):
    """The loss of each sample. Keeps only its inputs: softmax is cheap to compute again.

    `theta` has θ0, ..., θ7 along its first dimension; any others are broadcast to `logits`.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, target: Tensor, theta: Tensor, dim: int) -> Tensor:
        """Compute equation (1)."""
        u = torch.softmax(logits, dim, dtype=theta.dtype) - theta[1]
        if target.is_floating_point():
            w = target.to(u.dtype) - theta[0]
            bracket = _bracket(u, w, theta).sum(dim, keepdim=True)
        else:
            # All classes as if none were true, and what the true one has more: no one-hot label is
            # written to memory, and a class index out of range stops `gather`, compiled or not.
            w = -theta[0]
            true = u.gather(dim, target.unsqueeze(dim))
            bracket = _bracket(u, w, theta).sum(dim, keepdim=True)
            bracket = bracket + (_bracket(true, w + 1, theta) - _bracket(true, w, theta))
        return (bracket / -logits.shape[dim]).squeeze(dim)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _: Tensor) -> None:
        """Keep the inputs."""
        *tensors, ctx.dim = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad_losses: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients that are asked for, in logits, target and θ."""
        logits, target, theta = ctx.saved_tensors
        need_logits, need_target, need_theta, _ = ctx.needs_input_grad
        grad_logits = grad_target = grad_theta = None
        dim = ctx.dim
        y = torch.softmax(logits, dim, dtype=theta.dtype)
        x = target if target.is_floating_point() else true_classes(target, logits, dim)
        u, w = y - theta[1], x.to(y.dtype) - theta[0]
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
            grad_theta = torch.stack([(outer * s).sum_to_size(t2.shape) for s in in_theta])
        return grad_logits, grad_target, grad_theta, None


def _bracket(u: Tensor, w: Tensor, theta: Tensor) -> Tensor:
    """Return what equation (1) sums over the classes."""
    _, _, t2, t3, t4, t5, t6, t7 = theta.unbind()
    return u * (t2 + u * (t3 / 2 + u * (t4 / 6)) + w * (t5 + u * (t6 / 2) + w * (t7 / 2)))


def true_classes(target: Tensor, logits: Tensor, dim: int) -> Tensor:
    """Return where in `logits` the class is the one of the class index; `dim` is negative."""
    classes = torch.arange(logits.shape[dim], device=logits.device)
    return classes.view(-1, *[1] * (-dim - 1)) == target.unsqueeze(dim)


def one_hot(target: Tensor, like: Tensor, dim: int) -> Tensor:
    """Return class indices as probabilities, in shape and dtype as `like`."""
    # A tensor of ones, not the number: torch.compile turns the scatter of a number into a
    # comparison, which takes an index out of range in silence.
    index = target.unsqueeze(dim)
    return torch.zeros_like(like).scatter(dim, index, torch.ones_like(index, dtype=like.dtype))


def class_dim(logits: Tensor) -> int:
    """Return the dimension of the classes, counted from the last."""
    return min(1 - logits.ndim, -1)
