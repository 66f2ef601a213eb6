"""Gradients of each member are clipped by that member's own norm."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from epbt_optuna._internal.checks import check_number

__all__ = ["clip_grad_norm_"]


@torch.no_grad()
def clip_grad_norm_(
    parameters: Iterable[Tensor], max_norm: float | Tensor, norm_type: float = 2.0
) -> Tensor:
    """Scale each member's gradients down to a norm, as `torch.nn.utils.clip_grad_norm_` does.

    Args:
        parameters: The parameters of a stack, each of shape (P, ...).
        max_norm: The largest norm, a number for all or a tensor of shape (P,).
        norm_type: The order of the norm; infinity is the largest element.

    Returns:
        Each member's norm before, shape (P,). One that is not finite makes that member's gradients
        NaN or 0, as in torch, and leaves the others' alone.

    Raises:
        TypeError: `max_norm` is no number or tensor.
        ValueError: `max_norm` is negative or has another shape; there are no parameters.
    """
    parameters = list(parameters)
    if not parameters:
        raise ValueError("`parameters` must hold those of a stack but are none.")
    n = len(parameters[0])
    if not isinstance(max_norm, Tensor):
        check_number("max_norm", max_norm, at_least=0)
    elif max_norm.shape != (n,):
        raise ValueError(
            f"`max_norm` must be a number or of shape ({n},), for {n} members, but got shape "
            f"{tuple(max_norm.shape)}."
        )
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not grads:
        return parameters[0].new_zeros(n)
    of_each = [torch.linalg.vector_norm(grad.reshape(n, -1), norm_type, dim=1) for grad in grads]
    norms: Tensor = torch.linalg.vector_norm(torch.stack(of_each), norm_type, dim=0)
    scale = (max_norm / (norms + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(grads, [scale.view(-1, *[1] * (grad.ndim - 1)).to(grad) for grad in grads])
    return norms
