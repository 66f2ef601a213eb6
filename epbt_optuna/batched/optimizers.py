"""Optimizers for stacked parameters: each member has its own hyperparameters and its own steps.

What they compute is what `torch.optim` computes for each member alone, in torch's order, so that
results agree to the last few bits. `torch._foreach_*` functions take all parameters in one call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

from epbt_optuna.batched.stacked_optimizer import StackedOptimizer

__all__ = ["SGD", "AdamW"]

Parameters: TypeAlias = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]


class SGD(StackedOptimizer):
    """`torch.optim.SGD` of each member: see there for what the hyperparameters do.

    Each may be a number, for all, or a tensor of shape (P,).

    Args:
        params: The parameters of a stack, or groups of them.
        lr: Learning rate.
        momentum: Momentum.
        dampening: Dampening of momentum.
        weight_decay: Weight decay.
        nesterov: Whether momentum is Nesterov's, for all.

    Raises:
        TypeError: A hyperparameter is no number or tensor.
        ValueError: One is negative, not finite, or has another shape; a parameter is not stacked.
    """

    torchs = torch.optim.SGD
    _moments = ("momentum_buffer",)

    def __init__(
        self,
        params: Parameters,
        lr: float | Tensor = 1e-3,
        *,
        momentum: float | Tensor = 0.0,
        dampening: float | Tensor = 0.0,
        weight_decay: float | Tensor = 0.0,
        nesterov: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
        }
        super().__init__(params, defaults)

    def _step(self, group: dict[str, Any], parameters: list[Tensor], grads: list[Tensor]) -> None:
        if not _is_zero(group["weight_decay"]):
            decay = _shaped(self._each(group["weight_decay"]), parameters)
            grads = list(torch._foreach_addcmul(grads, parameters, decay))
        if not _is_zero(group["momentum"]):
            grads = self._with_momentum(group, parameters, grads)
        torch._foreach_addcmul_(
            parameters, grads, _shaped(self._each(group["lr"]), parameters), value=-1
        )

    def _with_momentum(
        self, group: dict[str, Any], parameters: list[Tensor], grads: list[Tensor]
    ) -> list[Tensor]:
        states = [self._buffers(parameter) for parameter in parameters]
        buffers = [state["momentum_buffer"] for state in states]
        steps = [state["step"] for state in states]
        momentum = self._each(group["momentum"])
        is_first = torch.stack(steps) == 0
        torch._foreach_mul_(buffers, _shaped(momentum.masked_fill(is_first, 0), parameters))
        if _is_zero(group["dampening"]):
            torch._foreach_add_(buffers, grads)
        else:
            # torch dampens neither a first step nor that of a network without momentum.
            share = 1 - self._each(group["dampening"])
            share = share.masked_fill(is_first | (momentum == 0), 1)
            torch._foreach_addcmul_(buffers, grads, _shaped(share, parameters))
        torch._foreach_add_(steps, [(momentum != 0).float()] * len(steps))
        if group["nesterov"]:
            return list(torch._foreach_addcmul(grads, buffers, _shaped(momentum, parameters)))
        return buffers


class AdamW(StackedOptimizer):
    """`torch.optim.AdamW` of each member: see there for what the hyperparameters do.

    Each may be a number, for all, or a tensor of shape (P,).

    Args:
        params: The parameters of a stack, or groups of them.
        lr: Learning rate.
        betas: The decay rates of the two moments, each less than 1.
        eps: What is added to the denominator.
        weight_decay: Weight decay.

    Raises:
        TypeError: A hyperparameter is no number or tensor.
        ValueError: One is out of range, not finite, or has another shape; a parameter is not
            stacked.
    """

    torchs = torch.optim.AdamW
    _moments = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Parameters,
        lr: float | Tensor = 1e-3,
        *,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float | Tensor = 1e-8,
        weight_decay: float | Tensor = 1e-2,
    ) -> None:
        pair: object = betas
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"`betas` must be a tuple of two but got {pair!r}.")
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    def _step(self, group: dict[str, Any], parameters: list[Tensor], grads: list[Tensor]) -> None:
        states = [self._buffers(parameter) for parameter in parameters]
        means = [state["exp_avg"] for state in states]
        squares = [state["exp_avg_sq"] for state in states]
        steps = [state["step"] for state in states]
        lr, (beta1, beta2) = self._each(group["lr"]), map(self._each, group["betas"])

        torch._foreach_add_(steps, 1)
        if not _is_zero(group["weight_decay"]):
            kept = 1 - lr * self._each(group["weight_decay"])
            torch._foreach_mul_(parameters, _shaped(kept, parameters))
        torch._foreach_lerp_(means, grads, _shaped(1 - beta1, parameters))
        torch._foreach_mul_(squares, _shaped(beta2, parameters))
        scaled = torch._foreach_mul(grads, _shaped(1 - beta2, parameters))
        torch._foreach_addcmul_(squares, scaled, grads)

        t = torch.stack(steps).double()
        denominators = torch._foreach_sqrt(squares)
        torch._foreach_div_(denominators, _shaped((1 - beta2**t).sqrt(), parameters))
        torch._foreach_add_(denominators, _shaped(self._each(group["eps"]), parameters))
        updates = torch._foreach_div(means, denominators)
        step_sizes = _shaped(lr / (1 - beta1**t), parameters)
        torch._foreach_addcmul_(parameters, updates, step_sizes, value=-1)

    def _member_buffers(self, buffers: Mapping[str, Tensor], i: int) -> dict[str, Any]:
        step = torch.tensor(buffers["step"][i].item())  # torch has it on the CPU
        return {"step": step, **super()._member_buffers(buffers, i)}


def _is_zero(value: float | Tensor) -> bool:
    """Tell whether a hyperparameter is 0 for all; a tensor is not looked into, it may be far."""
    return not isinstance(value, Tensor) and value == 0


def _shaped(values: Tensor, parameters: list[Tensor]) -> list[Tensor]:
    """Return, for each parameter, what multiplies it, from values (P,) or (parameters, P)."""
    rows = values.to(parameters[0].dtype).expand(len(parameters), -1).unbind()
    return [
        row.to(parameter.dtype).view(-1, *[1] * (parameter.ndim - 1))
        for row, parameter in zip(rows, parameters, strict=True)
    ]
