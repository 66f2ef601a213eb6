"""What each member has of a value: taken apart to be saved, put together when it is inherited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from epbt_optuna._internal.each import Each

__all__ = ["HasMembers", "flags", "joined", "misfit", "numbers", "parts"]


@runtime_checkable
class HasMembers(Protocol):
    """What has a state for each member: `stack`'s networks, the optimizers, or one of your own."""

    def member_state_dict(self, member: int, /) -> Mapping[str, Any]:
        """Return the state of one member, as one network or optimizer has it."""
        ...

    def load_member_state_dict(self, member: int, state: Mapping[str, Any], /) -> Any:
        """Give one member a state; raise where it does not fit."""
        ...


def parts(name: str, value: Any, n: int) -> list[Any]:
    """Return what each of n members has of a value.

    Tensors, arrays, lists and tuples have an entry for each; anything else is everybody's.

    Raises:
        ValueError: There is not one entry for each, or a dict has tensors of all.
    """
    if isinstance(value, Each):
        value = value.value
    if isinstance(value, Tensor | np.ndarray):
        if value.ndim == 0:
            return [value.item()] * n
        entries = value.tolist() if value.ndim == 1 else list(value)
    elif isinstance(value, list | tuple):
        entries = list(value)
    elif n > 1 and _has_all(value, n):
        raise ValueError(
            f"`{name}` must be no dict with tensors of all {n} trials, each of which would save "
            "them all: give a stack or an optimizer itself, each tensor by a name of its own, or a "
            "list with an entry for each."
        )
    else:
        return [value] * n
    if len(entries) != n:
        raise ValueError(
            f"`{name}` must have an entry for each of the {n} trials but has {_shown(value)}."
        )
    return entries


def _has_all(value: Any, n: int) -> bool:
    """Tell whether there are tensors in a dict that seem to be those of n members."""
    if isinstance(value, Mapping):
        return any(_has_all(item, n) for item in value.values())
    return isinstance(value, Tensor | np.ndarray) and value.shape[:1] == (n,)


def joined(entries: Sequence[Any], device: torch.device) -> Any:
    """Return what all members have as one: numbers and equal shapes as a tensor, else a list."""
    if all(isinstance(entry, int | float) for entry in entries):
        return torch.tensor(entries, device=device)
    is_tensor = all(isinstance(entry, Tensor) for entry in entries)
    if is_tensor and len({(entry.shape, entry.dtype) for entry in entries}) == 1:
        return torch.stack([entry.to(device) for entry in entries])
    return list(entries)


def numbers(name: str, values: Any, n: int) -> list[float]:
    """Return n numbers.

    Raises:
        TypeError: They are no numbers.
        ValueError: It is not one for each.
    """
    given = values.value if isinstance(values, Each) else values
    if isinstance(given, Tensor | np.ndarray):
        given = given.tolist()  # from a GPU at one go
    if not isinstance(given, list | tuple) or len(given) != n:
        raise ValueError(
            f"`{name}` must be {n} numbers, one for each trial, but got {_shown(values)}."
        )
    for entry in given:
        if not isinstance(entry, Real) and not (isinstance(entry, Tensor) and entry.ndim == 0):
            raise TypeError(f"`{name}` must be numbers but got {_shown(values)}.")
    return [float(entry) for entry in given]


def flags(name: str, mask: Any, n: int) -> list[bool]:
    """Return n booleans.

    Raises:
        TypeError: They are no booleans.
        ValueError: It is not one for each.
    """
    entries = parts(name, mask, n)
    if not isinstance(mask, Tensor | np.ndarray | list | tuple | Each):
        raise TypeError(f"`{name}` must be a mask with an entry for each trial but got {mask!r}.")
    for entry in entries:
        if not isinstance(entry, bool | np.bool_):
            raise TypeError(f"`{name}` must be a mask of booleans but has {entry!r}.")
    return [bool(entry) for entry in entries]


def misfit(own: Mapping[str, Any], state: Any) -> str | None:
    """Say why a member with the state `own` cannot take over `state`, or return None.

    Only keys and shapes are compared. What else there may be wrong, its owner knows.
    """
    if not isinstance(state, Mapping):
        return f"it must be a `state_dict()` but is a {type(state).__name__}"
    if missing := [key for key in own if key not in state]:
        return f"it lacks {missing[0]!r}" + _and_more(missing)
    if foreign := [key for key in state if key not in own]:
        return f"{foreign[0]!r}{_and_more(foreign)} has no place in the new one"
    for key, value in own.items():
        if isinstance(value, Tensor) and isinstance(state[key], Tensor):
            there, here = tuple(state[key].shape), tuple(value.shape)
            if there != here:
                return f"{key!r} has shape {there} in it but {here} in the new one"
    return None


def _and_more(keys: Sequence[object]) -> str:
    return f" and {len(keys) - 1} more" if len(keys) > 1 else ""


def _shown(value: Any) -> str:
    if isinstance(value, Each):
        return _shown(value.value)
    if isinstance(value, Tensor | np.ndarray):
        return f"shape {tuple(value.shape)}"
    return f"{len(value)}: {value!r}" if isinstance(value, list | tuple) else repr(value)
