"""Optimizers for stacked parameters: each member has its own hyperparameters and its own steps.

What they compute is what `torch.optim` computes for each member alone, in torch's order, so that
results agree to the last few bits. `torch._foreach_*` functions take all parameters in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NoReturn, TypeAlias

import torch
from torch import Tensor
from torch.optim import Optimizer

from epbt_optuna._internal.checks import check_integer, check_number, check_state_dict
from epbt_optuna.checkpoints.optimizers import find_mismatch

__all__ = ["SGD", "AdamW"]

Parameters: TypeAlias = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]


class _StackedOptimizer(Optimizer):
    """What the optimizers for stacked parameters share."""

    torchs: ClassVar[Callable[..., Optimizer]]
    """The optimizer of `torch.optim` that each member has."""

    _moments: ClassVar[tuple[str, ...]]
    """The names of its buffers that have the shape of their parameter."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with hyperparameters of their own; numbers or tensors (P,)."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for parameter in group["params"]:
            if parameter.shape[:1] != (len(self),):
                raise ValueError(
                    "`params` must be stacked, all with one number of members in front, but have "
                    f"shapes {tuple(self.param_groups[0]['params'][0].shape)} and "
                    f"{tuple(parameter.shape)}."
                )
        for name in self.defaults:
            if isinstance(group[name], tuple):
                group[name] = tuple(self._checked(name, value) for value in group[name])
            elif not isinstance(group[name], bool):
                group[name] = self._checked(name, group[name])

    def __len__(self) -> int:
        shape: torch.Size = self.param_groups[0]["params"][0].shape
        return shape[0] if shape else 0

    def _checked(self, name: str, value: Any) -> float | Tensor:
        """Return a hyperparameter, a tensor on the parameters' device; raise if it is none."""
        if not isinstance(value, Tensor):
            check_number(name, value, at_least=0)
            numbers = [value]
        elif value.shape != (len(self),):
            raise ValueError(
                f"`{name}` must be a number or of shape ({len(self)},), for {len(self)} members, "
                f"but got shape {tuple(value.shape)}."
            )
        else:
            value = value.detach().to(self.param_groups[0]["params"][0].device)
            numbers = value.tolist()
            for number in numbers:
                check_number(name, number, at_least=0)
        if name == "betas" and max(numbers) >= 1:
            raise ValueError(f"`betas` must be less than 1 but got {max(numbers)}.")
        return value  # type: ignore[no-any-return]

    @property
    def _step_supports_amp_scaling(self) -> NoReturn:
        # `GradScaler.step` asks for this first of all, whatever it goes on to do.
        raise TypeError(
            "A `GradScaler` cannot scale a stack: one member's overflow would skip the step of "
            "all. Use `torch.autocast` with `torch.bfloat16`, which needs none."
        )

    def member_state_dict(self, i: int) -> dict[str, Any]:
        """Return what `torch.optim`'s optimizer of member i alone would have as `state_dict()`."""
        check_integer("i", i, at_least=0, at_most=len(self) - 1)
        state: dict[int, dict[str, Any]] = {}
        parameters = [p for group in self.param_groups for p in group["params"]]
        for index, parameter in enumerate(parameters):
            buffers = self.state.get(parameter)
            if buffers and buffers["step"][i] > 0:
                state[index] = self._member_buffers(buffers, i)
        member = self._member(i)
        return {"state": state, "param_groups": member.state_dict()["param_groups"]}

    def load_member_state_dict(self, i: int, state: Mapping[str, Any]) -> None:
        """Load moments and steps into member i; hyperparameters stay as they were built.

        Args:
            i: The member.
            state: The `state_dict()` of an optimizer of this class in `torch.optim`, of one
                network, or what `member_state_dict` returned.

        Raises:
            ValueError: It is of another class of optimizer, or of other parameters. Nothing has
                been loaded then.
            TypeError: It is no optimizer's.
        """
        check_integer("i", i, at_least=0, at_most=len(self) - 1)
        check_state_dict(state, "an optimizer's", {"state", "param_groups"})
        if (reason := find_mismatch(self._member(i, shapes=True), state)) is not None:
            raise ValueError(reason)
        for group, parents in zip(self.param_groups, state["param_groups"], strict=True):
            for parameter, key in zip(group["params"], parents["params"], strict=True):
                theirs = state["state"].get(key, {})
                own = self._buffers(parameter)
                has_all = all(theirs.get(name) is not None for name in self._moments)
                for name in self._moments:
                    own[name][i] = theirs[name].to(own[name]) if has_all else 0
                own["step"][i] = float(theirs.get("step", 1)) if has_all else 0

    def _member(self, i: int, *, shapes: bool = False) -> Optimizer:
        """Return `torch.optim`'s optimizer with member i's hyperparameters, without its state."""
        groups = []
        for group in self.param_groups:
            own = {key: _at(value, i) for key, value in group.items() if key != "param_names"}
            own["params"] = [
                torch.empty(p.shape[1:] if shapes else (0,), device="meta") for p in group["params"]
            ]
            groups.append(own)
        return self.torchs(groups)

    def _member_buffers(self, buffers: Mapping[str, Tensor], i: int) -> dict[str, Any]:
        return {name: buffers[name][i].clone() for name in self._moments}

    def _buffers(self, parameter: Tensor) -> dict[str, Tensor]:
        """Return a parameter's buffers, which are zero before its first step."""
        buffers: dict[str, Tensor] = self.state[parameter]
        if not buffers:
            for name in self._moments:
                buffers[name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            buffers["step"] = torch.zeros(len(self), dtype=torch.float32, device=parameter.device)
        return buffers

    def _each(self, value: float | Tensor) -> Tensor:
        """Return a hyperparameter of each member, in the precision of Python's numbers."""
        device = self.param_groups[0]["params"][0].device
        return torch.as_tensor(value, dtype=torch.float64, device=device).expand(len(self))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step of every member.

        Args:
            closure: Computes the loss again; where given, its result is returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if parameters := [p for p in group["params"] if p.grad is not None]:
                self._step(group, parameters, [p.grad for p in parameters])
        return loss

    def _step(self, group: dict[str, Any], parameters: list[Tensor], grads: list[Tensor]) -> None:
        raise NotImplementedError


class SGD(_StackedOptimizer):
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


class AdamW(_StackedOptimizer):
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


def _at(value: Any, i: int) -> Any:
    """Return what a hyperparameter is for member i."""
    if isinstance(value, tuple):
        return tuple(_at(part, i) for part in value)
    return value[i].item() if isinstance(value, Tensor) and value.ndim == 1 else value


def _shaped(values: Tensor, parameters: list[Tensor]) -> list[Tensor]:
    """Return, for each parameter, what multiplies it, from values (P,) or (parameters, P)."""
    rows = values.to(parameters[0].dtype).expand(len(parameters), -1).unbind()
    return [
        row.to(parameter.dtype).view(-1, *[1] * (parameter.ndim - 1))
        for row, parameter in zip(rows, parameters, strict=True)
    ]
