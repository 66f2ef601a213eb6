"""Averaging: a state between the parent's and the mate's, tensor by tensor.

Where a tensor is decides whether it is averaged. In an optimizer's `state_dict` the moments are,
and nothing else; in a scheduler's, nothing; everywhere else every floating tensor and array, which
is the model with the statistics of its normalisation layers. Integers, random states and whatever
is no tensor are the parent's. Weights of a kind that cannot be averaged leave the whole state to
the parent: half of a model is nobody's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import torch

from epbt_optuna.checkpoints.contents import SPARSE_PARTS
from epbt_optuna.checkpoints.memory import like
from epbt_optuna.checkpoints.mixed import NotAveragedError
from epbt_optuna.checkpoints.paths import KeyPath, shown

__all__ = ["averaged"]

_Array: TypeAlias = torch.Tensor | np.ndarray[Any, Any]

# The key that every such `state_dict` has: Lookahead's has no "state", a chained scheduler's no
# "last_epoch".
_OPTIMIZER = "param_groups"
_SCHEDULER = "_last_lr"
# What torch's optimizers count, or compute from a count, as tensors beside the moments.
_PROGRESS = {"step", "eta", "mu", "mu_product"}
_WIDE = {torch.float64, torch.complex128}


def averaged(
    state: Any, read_mate: Callable[[], Any], weight: float, only: Collection[str] | None
) -> Any:
    """Return the parent's state with its tensors averaged with the mate's.

    A tensor x becomes (1 − w)·x + w·y, where y is the mate's at the same place: computed in float32
    (float64 in its own precision), then of x's type again. What is equal in both stays as it is,
    infinities in a mask included.

    Args:
        state: The parent's state; changed in place, but only once no error can be raised any more.
        read_mate: Reads the mate's state. Each tensor of that is let go as soon as it is averaged,
            so that never more than two states and a few tensors are in memory.
        weight: w, the mate's share.
        only: The top-level keys of what is averaged. Default: all.

    Raises:
        NotAveragedError: The states do not fit each other, or a result is not finite.
        ValueError: `only` names what the parent's state does not have.
        Exception: What `read_mate` raises.
    """
    mine = _Leaves(_part(state, only))
    theirs = _Leaves(_part(read_mate(), only, is_mates=True))
    _check_alike(mine.model, theirs.model)
    results: dict[int, Any] = {}
    shared: dict[Any, torch.Tensor] = {}
    for own, others in ((mine.model, theirs.model), (mine.moments, theirs.moments)):
        for path, array in own.items():
            other = others.pop(path, None)
            if _is_of_another_kind(array):
                continue  # equal in both
            if other is not None and _difference(array, other) is None:
                results[id(array)] = _average(array, other, weight, path, shared)
    if not results:
        raise NotAveragedError("it holds no tensors that could be averaged")
    return _replace(state, results)


def _part(state: Any, only: Collection[str] | None, *, is_mates: bool = False) -> Any:
    """Return the part of a state that may be averaged."""
    if only is None:
        return state
    there = state if isinstance(state, dict) else {}
    if not is_mates and (unknown := [key for key in only if key not in there]):
        raise ValueError(
            f"`only` must hold top-level keys of the state, {[*there]}, but got {unknown}."
        )
    return {key: there[key] for key in only if key in there}


class _Leaves:
    """The arrays of a state that may be averaged, by the keys that lead to them, each once.

    Attributes:
        model: Those that both states must have alike.
        moments: Those of optimizers, which parameters may lack that were not trained.
    """

    def __init__(self, state: Any) -> None:
        self.model: dict[KeyPath, _Array] = {}
        self.moments: dict[KeyPath, _Array] = {}
        self._seen: set[int] = set()
        self._visit(state, KeyPath())

    def _visit(self, value: Any, path: KeyPath) -> None:
        if not isinstance(value, dict | list | tuple | torch.Tensor | np.ndarray):
            return
        if id(value) in self._seen:
            return
        self._seen.add(id(value))
        if _is_floating(value) or _is_of_another_kind(value):
            self.model[path] = value
        elif isinstance(value, list | tuple):
            for index, item in enumerate(value):
                self._visit(item, path.item(index))
        elif isinstance(value, dict) and _OPTIMIZER in value:
            for key, item in value.items():
                if key != _OPTIMIZER:
                    self._visit_moments(item, path.item(key))
        elif isinstance(value, dict) and _SCHEDULER not in value:
            for key, item in value.items():
                self._visit(item, path.item(key))

    def _visit_moments(self, states: Any, path: KeyPath) -> None:
        """Note the moments of each parameter.

        Beside those of a parameter with dimensions, a tensor without any is a count of some kind,
        by whatever name an optimizer of others has it. Codes of eight bits, and LBFGS's lists of
        steps, mean something with their own scales and vectors only: all stays the parent's.
        """
        for parameter, buffers in states.items() if isinstance(states, dict) else ():
            if not isinstance(buffers, dict) or any(map(_is_coded, buffers.values())):
                continue
            floating = {
                name: value
                for name, value in buffers.items()
                if name not in _PROGRESS and _is_floating(value)
            }
            most = max((value.ndim for value in floating.values()), default=0)
            for name, value in floating.items():
                if value.ndim > 0 or most == 0:
                    self.moments[path.item(parameter).item(name)] = value


def _is_floating(value: Any) -> TypeGuard[_Array]:
    """Tell whether a value is a dense array of real or complex numbers with a floating point."""
    if isinstance(value, torch.Tensor):
        is_dense = value.layout == torch.strided and not value.is_nested
        return is_dense and (value.is_floating_point() or value.is_complex())
    return isinstance(value, np.ndarray) and value.dtype.kind in "fc"


def _is_of_another_kind(value: Any) -> TypeGuard[torch.Tensor]:
    """Tell whether a value has weights that cannot be averaged: it is sparse, nested, quantized."""
    if not isinstance(value, torch.Tensor) or _is_floating(value):
        return False
    return value.is_floating_point() or value.is_complex() or value.is_quantized


def _is_coded(buffer: Any) -> bool:
    """Tell whether a buffer is a part of a state of which averaging would change other parts."""
    if isinstance(buffer, torch.Tensor | np.ndarray):
        return buffer.ndim > 0 and not _is_floating(buffer)
    return isinstance(buffer, list)


def _check_alike(mine: dict[KeyPath, _Array], theirs: dict[KeyPath, _Array]) -> None:
    """Raise a NotAveragedError unless two models have the same tensors."""
    for whose, there, others in (("mate", mine, theirs), ("parent", theirs, mine)):
        for path in there:
            if path not in others:
                raise NotAveragedError(f"`{shown(path)}` is missing in the {whose}'s state")
    for path, own in mine.items():
        if difference := _difference(own, theirs[path]):
            raise NotAveragedError(f"`{shown(path)}` is {difference}")


def _difference(own: _Array, other: _Array) -> str | None:
    """Return how two arrays differ in kind; None where they can be averaged, or need not be."""
    if _is_of_another_kind(own) or _is_of_another_kind(other):
        kind = "sparse, nested or quantized, and not the same in both"
        return None if _is_same(own, other) else kind
    if own.dtype == other.dtype and own.shape == other.shape:  # NumPy's dtypes are not torch's
        return None
    mine, theirs = (f"of {array.dtype} and shape {tuple(array.shape)}" for array in (own, other))
    return f"{mine} in the parent's state, and {theirs} in the mate's"


def _is_same(own: _Array, other: _Array) -> bool:
    """Tell whether two tensors are equal, of which one at least is of another kind."""
    if not isinstance(own, torch.Tensor) or not isinstance(other, torch.Tensor):
        return False
    if own.layout != other.layout:
        return False
    mine, theirs = own.detach(), other.detach().to(own.device)
    try:
        if parts := SPARSE_PARTS.get(own.layout):
            return all(
                torch.equal(getattr(mine, part)(), getattr(theirs, part)()) for part in parts
            )
        return torch.equal(mine, theirs)
    except RuntimeError:  # not every kind can be compared
        return False


def _average(
    own: Any, other: Any, weight: float, path: KeyPath, shared: dict[Any, torch.Tensor]
) -> _Array:
    """Return the average of two arrays; of tensors on the same memory, the same one."""
    if isinstance(own, np.ndarray):
        return own if np.array_equal(own, other) else _average_of_arrays(own, other, weight, path)
    place = (own.data_ptr(), other.data_ptr(), own.shape, own.stride(), own.dtype)
    if place not in shared:
        shared[place] = _average_of_tensors(own.detach(), other.detach(), weight, path)
    return like(own, shared[place].detach())


def _average_of_tensors(
    own: torch.Tensor, other: torch.Tensor, weight: float, path: KeyPath
) -> torch.Tensor:
    other = other.to(own.device)
    try:
        if torch.equal(own, other):
            return own
    except NotImplementedError:  # torch has types that it cannot compute with
        raise NotAveragedError(f"`{shown(path)}` is {own.dtype}: no type to compute with") from None
    narrow = torch.complex64 if own.is_complex() else torch.float32
    wide = own.dtype if own.dtype in _WIDE else narrow
    # Two products and a sum: a fused one would round differently at the end of a vector, and so
    # with the number of torch's threads.
    result = own.to(wide).mul(1 - weight).add_(other.to(wide).mul(weight))
    _check_finite(bool(torch.isfinite(result).all()), path)
    return result.to(own.dtype)


def _average_of_arrays(
    own: np.ndarray[Any, Any], other: np.ndarray[Any, Any], weight: float, path: KeyPath
) -> np.ndarray[Any, Any]:
    wide = np.result_type(own.dtype, np.float32)
    with np.errstate(all="ignore"):  # it is looked at below
        result = np.asarray((1 - weight) * own.astype(wide) + weight * other.astype(wide))
    _check_finite(bool(np.isfinite(result).all()), path)
    return result.astype(own.dtype)


def _check_finite(is_finite: bool, path: KeyPath) -> None:
    if not is_finite:
        raise NotAveragedError(f"`{shown(path)}` would not be finite")


def _replace(value: Any, results: dict[int, Any]) -> Any:
    """Put results in their places, in the very containers: a model's dict has attributes, too.

    Args:
        value: A state, or a part of one.
        results: What is to be in place of an object, by its `id`. Containers are added when they
            are done.
    """
    if id(value) in results:
        return results[id(value)]
    if isinstance(value, dict | list):
        results[id(value)] = value
        for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
            value[key] = _replace(item, results)
    elif type(value) is tuple:
        items = tuple(_replace(item, results) for item in value)
        is_same = all(item is old for item, old in zip(items, value, strict=True))
        results[id(value)] = value if is_same else items
        return results[id(value)]
    return value
