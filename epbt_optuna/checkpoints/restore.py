"""An optimizer goes on from its parent's moments, under this trial's hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

from epbt_optuna._internal.checks import check_number, check_state_dict
from epbt_optuna._internal.extras import needs
from epbt_optuna._internal.text import get_logger

if TYPE_CHECKING:
    import torch

__all__ = ["restore_optimizer"]

_logger = get_logger("epbt_optuna.checkpoints")

# What a scheduler writes into a group when it is built, and the hyperparameters that it then sets.
_SCHEDULED = {"initial_lr": ("lr",), "max_momentum": ("momentum", "betas")}

# Buffers that torch makes at a parameter's first step only, and only where a hyperparameter asks
# for them: (hyperparameter, buffer, a buffer beside it that is always there).
_SWITCHED = (
    ("amsgrad", "max_exp_avg_sq", "exp_avg_sq"),
    ("centered", "grad_avg", "square_avg"),
    ("momentum", "momentum_buffer", "square_avg"),
)


def restore_optimizer(
    optimizer: torch.optim.Optimizer,
    state: Mapping[str, Any],
    *,
    on_mismatch: Literal["error", "fresh"] = "error",
    **hyperparameters: Any,
) -> None:
    """Give an optimizer its parent's moments; every hyperparameter stays as it was just built.

    `load_state_dict` brings back all that the parent had, its learning rate and weight decay
    included. This takes only what training has made of it: momentum, second moments, step counts,
    and what an optimizer notes in its groups without taking it as an argument (Prodigy's `d`).
    Hyperparameters, flags such as `fused`, and keys of your own in a group are the new optimizer's,
    group by group. So build it with this trial's values, and nothing need be named.

    Two of torch's optimizers have a rate in their state, which is the parent's: Rprop adapts one
    for each weight, of which `lr` is only the first, and ASGD takes one more step at the old one.

    Schedulers: restore the optimizer, build the scheduler, then call `restore_scheduler`. Where
    the scheduler was built first, this leaves alone what it sets.

    Args:
        optimizer: The optimizer of the child's model, built with the same parameter groups.
        state: The parent's `optimizer.state_dict()`. It is copied.
        on_mismatch: What to do with the state of another class of optimizer, or of other
            parameters: `"error"`, or `"fresh"`, to leave it out, with one line in the log. A class
            is known by the names of its hyperparameters, since a state does not say it. Adam and
            AdamW differ in `decoupled_weight_decay`, which states of older versions of torch lack:
            those are taken by both. Shapes are compared for torch's own optimizers and their
            subclasses, and names where both were built with `model.named_parameters()`.
        **hyperparameters: What to set in the groups, by the optimizer's own names, where it was
            not built with this trial's values. One value is for all groups: `lr=0.1`,
            `betas=(0.9, 0.99)`. Where they were built with different ones (no decay for biases, a
            lower rate for the backbone), it must be one of these, but not 0, and each group keeps
            its own. A list or tuple has one for each group: `lr=[0.1, 0.01]`; where a value is
            itself a tuple, only a sequence of tuples is that: `betas=[(0.9, 0.99), (0.8, 0.99)]`.
            A mapping names groups by their key `"name"`: `lr={"head": 0.1}`; others keep theirs.

    Raises:
        ValueError: The optimizer has no hyperparameter of that name, or its value does not fit the
            groups, or a scheduler was built with another one; `state` is that of another class, or
            of other parameters, and `on_mismatch` is `"error"`. Nothing has been changed then.
        TypeError: `optimizer` is none of torch's class, `state` is not an optimizer's, or a value
            is no number where the optimizer has one.
    """
    with needs("torch", "`restore_optimizer`"):
        from torch.optim import Optimizer

        from epbt_optuna.checkpoints.optimizers import find_mismatch

    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"`optimizer` must be a torch.optim.Optimizer but got a {type(optimizer).__name__}: "
            "of one that wraps another, pass that."
        )
    if on_mismatch not in ("error", "fresh"):
        raise ValueError(f"`on_mismatch` must be 'error' or 'fresh' but got {on_mismatch!r}.")
    check_state_dict(state, "an optimizer's", {"state", "param_groups"})
    values: list[dict[str, Any]] = [{} for _ in optimizer.param_groups]
    for name, value in hyperparameters.items():
        for new, own in zip(values, _for_each_group(optimizer, name, value), strict=True):
            new.update(own)
    if (reason := find_mismatch(optimizer, state)) is None:
        _load(optimizer, state)
    elif on_mismatch == "error":
        raise ValueError(f"{reason} Pass `on_mismatch='fresh'` to begin without moments instead.")
    else:
        _logger.warning("%s It is left out: the optimizer starts without moments.", reason)
    for group, new in zip(optimizer.param_groups, values, strict=True):
        group.update(new)


def _load(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Load the state of the parameters under the optimizer's own groups."""
    from epbt_optuna.checkpoints.optimizers import is_torchs, progress_in, without_schedules

    kept, groups = [], []
    for group, parents in zip(optimizer.param_groups, state["param_groups"], strict=True):
        progress = progress_in(optimizer, group)
        own = {key: value for key, value in group.items() if key not in {"params", *progress}}
        kept.append(own)
        groups.append(
            {
                **{key: own[key] for key in own if key in optimizer.defaults},
                **{key: parents[key] for key in without_schedules(parents) if key not in own},
                "params": parents["params"],
            }
        )
    # torch casts `step` by the flags that are in the groups it loads: here the new optimizer's. It
    # takes tensors as they are: without a copy, training would change the state, which the next
    # fold of a cross-validation may begin from.
    own_state = {**state, "state": deepcopy(state["state"]), "param_groups": groups}
    optimizer.load_state_dict(own_state)
    for group, own in zip(optimizer.param_groups, kept, strict=True):
        group.update(own)  # the very objects: torch copied them, and a graph may hold a tensor's
        for parameter in group["params"]:
            buffers = optimizer.state.get(parameter, {})
            _lay_out(buffers, parameter)
            _complete(buffers, group)
            if is_torchs(optimizer) and not group.get("capturable") and not group.get("fused"):
                _count_on_cpu(buffers)


def _lay_out(buffers: dict[str, Any], parameter: torch.Tensor) -> None:
    """Give moments their parameter's strides, as of one in `channels_last`.

    A fused step goes through the memory of both without a look at the strides.
    """
    import torch

    for name, value in buffers.items():
        if (
            isinstance(value, torch.Tensor)
            and value.layout == parameter.layout == torch.strided
            and value.shape == parameter.shape
            and value.stride() != parameter.stride()
        ):
            buffers[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _complete(buffers: dict[str, Any], group: Mapping[str, Any]) -> None:
    """Add the buffers that this trial's hyperparameters need and the parent's did not."""
    import torch

    for hyperparameter, missing, beside in _SWITCHED:
        if group.get(hyperparameter) and beside in buffers and missing not in buffers:
            buffers[missing] = torch.zeros_like(buffers[beside])
    if "al" in buffers:  # LBFGS has made room there for so many, and never looks again
        buffers["al"] = [None] * group["history_size"]
        for name in ("old_dirs", "old_stps", "ro"):
            del buffers[name][: -group["history_size"]]


def _count_on_cpu(buffers: dict[str, Any]) -> None:
    """Bring a step count back that was loaded to an accelerator, where each read would wait."""
    import torch

    if isinstance(buffers.get("step"), torch.Tensor):
        buffers["step"] = buffers["step"].cpu()


def _for_each_group(
    optimizer: torch.optim.Optimizer, name: str, value: Any
) -> list[dict[str, Any]]:
    """Return, for each group, what to update it with."""
    groups = optimizer.param_groups
    for group in groups:
        known = sorted(group.keys() - {"params", "param_names"})
        if name not in known:
            raise ValueError(
                f"`{name}` must be a hyperparameter of {type(optimizer).__name__}: "
                f"{', '.join(known)}."
            )
    if isinstance(value, Mapping):
        names = [group.get("name") for group in groups]
        if unknown := [key for key in value if key not in names]:
            raise ValueError(
                f"`{name}` must be given for groups whose key 'name' is one of {names} "
                f"but got {unknown}."
            )
        values = [value.get(key, group[name]) for key, group in zip(names, groups, strict=True)]
    elif _is_one_each(value, groups[0][name]):
        if len(value) != len(groups):
            raise ValueError(
                f"`{name}` must be one value, or one for each of the {len(groups)} groups, "
                f"but got {len(value)}: {value}."
            )
        values = list(value)
    else:
        values = _one_for_all(name, value, [group[name] for group in groups])
    return [_update(name, group, own) for group, own in zip(groups, values, strict=True)]


def _is_one_each(value: Any, old: Any) -> bool:
    """Tell whether `value` holds a value for each group: see `restore_optimizer`."""
    if not isinstance(value, (list, tuple)):
        return False
    if isinstance(old, (list, tuple)):
        return any(isinstance(own, (list, tuple)) for own in value)
    return True


def _one_for_all(name: str, value: Any, built: list[Any]) -> list[Any]:
    """Return the value for each group; where they differ, it can only repeat what was built."""
    if all(own == built[0] for own in built):
        return [value] * len(built)
    # 0 repeats nothing: a group that does not decay is there whatever the others were meant to be.
    if not any(own and own == value for own in built):
        raise ValueError(
            f"`{name}` must be given for each group, as a list or by their names, since the groups "
            f"were built with different values, {built}, but got {value}."
        )
    return built


def _update(name: str, group: Mapping[str, Any], value: Any) -> dict[str, Any]:
    """Return what sets one hyperparameter of a group; nothing where a scheduler has set it."""
    for key, scheduled in _SCHEDULED.items():
        if name in scheduled and key in group:
            if name == "lr" and float(value) == float(group[key]):
                return {}
            raise ValueError(
                f"`{name}` must be set before a scheduler is built, which has taken "
                f"{group[key]} as `{key}`, but got {value}."
            )
    return {name: _like(name, group[name], value)}


def _like(name: str, old: Any, value: Any) -> Any:
    """Return `value` in the form of `old`: a tensor (of a compiled optimizer) stays one."""
    import torch

    if isinstance(old, (list, tuple)):
        if not isinstance(value, (list, tuple)) or len(value) != len(old):
            raise ValueError(f"`{name}` must hold {len(old)} values, as {old}, but got {value}.")
        return type(old)(_like(name, *pair) for pair in zip(old, value, strict=True))
    if type(old) is not bool and isinstance(old, (Real, torch.Tensor)):
        number = float(value) if isinstance(value, torch.Tensor) else value
        check_number(name, number, at_least=0 if name == "lr" else -math.inf)
    return torch.full_like(old, float(value)) if isinstance(old, torch.Tensor) else value
