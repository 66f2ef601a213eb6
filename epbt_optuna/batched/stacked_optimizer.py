"""What optimizers for stacked parameters share: hyperparameters and states of each member."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor
from torch.optim import Optimizer

from epbt_optuna._internal.checks import check_integer, check_number, check_state_dict
from epbt_optuna.checkpoints.optimizers import find_mismatch

__all__ = ["StackedOptimizer"]


class StackedOptimizer(Optimizer):
    """An optimizer of parameters of shape (P, ...), whose hyperparameters may have shape (P,)."""

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
            if "initial_lr" in group and isinstance(group["lr"], Tensor):
                raise ValueError(
                    "`lr` must be a number where a scheduler of torch sets it, which has one for "
                    f"all members, but has shape {tuple(group['lr'].shape)}: assign "
                    "`param_groups[0]['lr']` at each step instead."
                )
            if parameters := [p for p in group["params"] if p.grad is not None]:
                self._step(group, parameters, [p.grad for p in parameters])
        return loss

    def _step(self, group: dict[str, Any], parameters: list[Tensor], grads: list[Tensor]) -> None:
        raise NotImplementedError


def _at(value: Any, i: int) -> Any:
    """Return what a hyperparameter is for member i."""
    if isinstance(value, tuple):
        return tuple(_at(part, i) for part in value)
    return value[i].item() if isinstance(value, Tensor) and value.ndim == 1 else value
