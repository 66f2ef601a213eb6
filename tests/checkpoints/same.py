"""When two states are the same: values, types, and what is shared within each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import torch


def same(a: Any, b: Any) -> bool:
    """Return whether two values have the same types and values, NaN being the same as NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return _same_tensors(a, b) and same(vars(a), vars(b))
    if isinstance(a, np.ndarray | np.generic):
        return _same_arrays(a, b)
    if isinstance(a, dict):
        attributes = [[*getattr(each, "__dict__", {}).items()] for each in (a, b)]
        return same([*a.items()], [*b.items()]) and same(*attributes)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, set):
        return same(sorted(a, key=repr), sorted(b, key=repr))
    if isinstance(a, float):
        return math.copysign(1, a) == math.copysign(1, b) and (a == b or (a != a and b != b))
    if isinstance(a, complex):
        return same((a.real, a.imag), (b.real, b.imag))
    return bool(a == b)


def _same_tensors(a: torch.Tensor, b: torch.Tensor) -> bool:
    for name in ("dtype", "shape", "layout", "device", "requires_grad"):
        if getattr(a, name) != getattr(b, name):
            return False
    a, b = a.detach().to_dense().resolve_conj(), b.detach().to_dense().resolve_conj()
    if a.dtype.itemsize == 1:
        return torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))
    return bool(((a == b) | ((a != a) & (b != b))).all())


def _same_arrays(a: Any, b: Any) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.char in "gG":  # long doubles have no type of Python's
        return np.array_equal(a, b, equal_nan=True)
    return same(a.tolist(), b.tolist())


def leaves(state: Any, visited: set[int] | None = None) -> Iterator[Any]:
    """Yield the tensors and arrays of a state in order, each object once."""
    visited = set() if visited is None else visited
    if id(state) in visited:
        return
    visited.add(id(state))
    if isinstance(state, torch.Tensor | np.ndarray):
        yield state
    inner = state.values() if isinstance(state, dict) else state
    for value in inner if isinstance(inner, list | tuple | type({}.values())) else ():
        yield from leaves(value, visited)


def ties(state: Any) -> list[tuple[int, int]]:
    """Return which of a state's tensors and arrays share memory, by their order."""

    def memory(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray):
            return leaf
        leaf = leaf.detach()
        as_integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
        return leaf.view(as_integers[leaf.dtype.itemsize]).numpy()

    memories = [memory(leaf) for leaf in leaves(state)]
    pairs = combinations(range(len(memories)), 2)
    return [(i, j) for i, j in pairs if np.shares_memory(memories[i], memories[j])]
