"""What a `state_dict()` tells of the optimizer that it is from. Needs torch.

It holds no name of a class. What it does hold are the names of hyperparameters in its groups, which
differ between any two of torch's classes but Adam and AdamW; those differ in one value.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Set
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor
from torch.optim import LBFGS, Adam, Optimizer

__all__ = ["find_mismatch", "is_torchs", "progress_in", "without_schedules"]

# How a step is computed, not what: versions of torch differ in which class has which.
_FLAGS = {"capturable", "differentiable", "foreach", "fused", "maximize"}

_ADAMWS_FLAG = "decoupled_weight_decay"

_SCHEDULERS_KEYS = {"base_momentum", "initial_lr", "max_lr", "max_momentum", "min_lr", "swa_lr"}

# The buffers of torch's optimizers that have their parameter's shape.
_MOMENTS = {
    *("acc_delta", "ax", "exp_avg", "exp_avg_sq", "exp_inf", "grad_avg", "max_exp_avg_sq"),
    *("momentum_buffer", "prev", "square_avg", "step_size", "sum", "variance"),
    *("d", "prev_flat_grad"),  # LBFGS's, of all parameters as one vector
}

_WRAPPERS = {"_orig_mod", "module"}  # in a name: compiled networks, and those of several devices

# Each inheritance looks at all classes that are loaded.
_signatures: WeakKeyDictionary[type[Optimizer], frozenset[str]] = WeakKeyDictionary()


def find_mismatch(optimizer: Optimizer, state: Mapping[str, Any]) -> str | None:
    """Say why `state` cannot be that of `optimizer`'s parent, or return None."""
    groups, parents = optimizer.param_groups, state["param_groups"]
    name = _name(type(optimizer), groups[0])
    for group, parent in zip(groups, parents, strict=False):
        if not _is_same_class(optimizer, group, parent):
            return f"`state` must be of {name}, as the optimizer is, but is of {_guess(parent)}."
    if len(groups) != len(parents):
        return (
            f"`state` must have the optimizer's {len(groups)} parameter groups but has "
            f"{len(parents)}."
        )
    for index, (group, parent) in enumerate(zip(groups, parents, strict=True)):
        where = f"`state`'s parameter group {index}"
        if group.get("name") != parent.get("name") and "name" in group and "name" in parent:
            return f"{where} must be {group['name']!r} but is {parent['name']!r}."
        if len(group["params"]) != len(parent["params"]):
            return (
                f"{where} must have {len(group['params'])} parameters but has "
                f"{len(parent['params'])}."
            )
        if "param_names" in group and "param_names" in parent:
            own, theirs = (list(map(_unwrapped, g["param_names"])) for g in (group, parent))
            for i, (name, other) in enumerate(zip(own, theirs, strict=True)):
                if name != other:
                    return f"{where} must have {name!r} as its parameter {i} but has {other!r}."
        if not is_torchs(optimizer):
            continue
        for i, (shape, key) in enumerate(
            zip(_shapes(optimizer, group), parent["params"], strict=False)
        ):
            if misfit := _find_misfit(state["state"].get(key, {}), shape):
                return f"{where} must fit its parameter {i}, {misfit}."
    return None


def is_torchs(optimizer: Optimizer) -> bool:
    """Tell whether this is one of torch's optimizers, or of a subclass of one."""
    return any(_is_torchs(base) for base in type(optimizer).__mro__)


def progress_in(optimizer: Optimizer, group: Mapping[str, Any]) -> set[str]:
    """Return the keys of a group that training writes: they are the name of no argument.

    Prodigy's estimate `d` and the counters of schedule-free optimizers are such.
    """
    # Names that torch has for hyperparameters are that everywhere, where a constructor renames them
    # too, but for Adafactor's `d`, which is what Prodigy and D-Adaptation estimate as they train.
    torchs = set().union(*(_signature(cls) for cls in _classes() if _is_torchs(cls))) - {"d"}
    # Wrappers put a word in front of their own: Lookahead's `k` is `lookahead_k` in the groups.
    ends = tuple(f"_{name}" for name in _signature(type(optimizer)))
    keys = (group.keys() & optimizer.defaults.keys()) - _arguments(type(optimizer)) - torchs
    return {key for key in keys if not key.endswith(ends)}


def without_schedules(group: Mapping[str, Any]) -> set[str]:
    """Return the keys of a group but for those that schedulers have written."""
    return group.keys() - _SCHEDULERS_KEYS - {"params"}


def _is_same_class(
    optimizer: Optimizer, group: Mapping[str, Any], parent: Mapping[str, Any]
) -> bool:
    """Tell whether the parent's group has the hyperparameters of this one's class, and no others.

    Keys that no optimizer takes as an argument do not count: they are the user's, or counters.
    """
    missing = set(_arguments(type(optimizer)) & group.keys() - parent.keys() - _FLAGS)
    foreign = without_schedules(parent) & _all_arguments() - group.keys() - _FLAGS
    if isinstance(optimizer, Adam):
        missing.discard(_ADAMWS_FLAG)  # older versions of torch have none
        flags = {bool(g[_ADAMWS_FLAG]) for g in (group, parent) if _ADAMWS_FLAG in g}
        if len(flags) > 1:
            return False
    return not missing and not foreign


def _is_torchs(cls: type) -> bool:
    return cls.__module__.startswith("torch.optim") and cls is not Optimizer


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _shapes(optimizer: Optimizer, group: Mapping[str, Any]) -> list[tuple[int, ...]]:
    """Return what the moments of a group are shaped like: its parameters, or one vector of all."""
    if isinstance(optimizer, LBFGS):
        return [(sum(p.numel() * (1 + p.is_complex()) for p in group["params"]),)]
    return [tuple(parameter.shape) for parameter in group["params"]]


def _find_misfit(buffers: Mapping[str, Any], shape: tuple[int, ...]) -> str | None:
    """Say which buffer cannot be that of a parameter of this shape, or return None."""
    for name, value in buffers.items():
        if isinstance(value, Tensor) and not _fits(name, tuple(value.shape), shape):
            return f"of shape {shape}, but `{name}` has {tuple(value.shape)}"
    return None


def _fits(buffer: str, value: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Tell whether a buffer of torch's may be that of a parameter of this shape."""
    if buffer in ("row_var", "col_var"):  # Adafactor's second moments of rows and columns
        return len(shape) > 1 and value == (
            (*shape[:-1], 1) if buffer == "row_var" else (*shape[:-2], 1, shape[-1])
        )
    return value == shape or buffer not in _MOMENTS


def _guess(group: Mapping[str, Any]) -> str:
    """Name the class that a parent's group is of; where none is known, its hyperparameters."""
    names = (without_schedules(group) & _all_arguments()) - _FLAGS
    for cls in _classes():
        if _arguments(cls) - _FLAGS == names:
            return _name(cls, group)
    return f"an optimizer with {', '.join(sorted(without_schedules(group)))}"


def _name(cls: type[Optimizer], group: Mapping[str, Any]) -> str:
    """Name a class. AdamW is Adam with one flag set, under its own name or under Adam's."""
    return "AdamW" if cls is Adam and group.get(_ADAMWS_FLAG) else cls.__name__


def _arguments(cls: type[Optimizer]) -> Set[str]:
    """Return the hyperparameters that a class takes, all that are known where it hides them.

    It does where it wraps another optimizer: then its constructor takes no `lr`.
    """
    names = _signature(cls)
    return names if "lr" in names else names | _all_arguments()


def _all_arguments() -> set[str]:
    """Return the hyperparameters of all optimizers that are loaded."""
    return set().union(*map(_signature, _classes()))


def _signature(cls: type[Optimizer]) -> frozenset[str]:
    """Return the names of the arguments of a class and of its bases."""
    if cls not in _signatures:
        bases = cls.__mro__[: cls.__mro__.index(Optimizer)]
        names = {name for base in bases for name in inspect.signature(base).parameters}
        _signatures[cls] = frozenset(names - {"params", "args", "kwargs"})
    return _signatures[cls]


def _classes() -> Iterator[type[Optimizer]]:
    """Yield the optimizers that are loaded, torch's first: they were defined before others."""
    classes: list[type[Optimizer]] = [Optimizer]
    for cls in classes:
        classes.extend(cls.__subclasses__())
    yield from classes[1:]
