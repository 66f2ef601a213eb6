"""What a state may hold: all that comes back the same from a file which is read safely.

torch saves more than `torch.load(weights_only=True)` reads, and loses some of it without a word.
So a state is walked before it is saved, and what would be refused or changed when it is read is
refused here, by the keys that lead to it.
"""

from __future__ import annotations

import io
from collections import Counter, OrderedDict
from functools import cache
from typing import Any, NoReturn

import numpy as np
import torch

from epbt_optuna.checkpoints.arrays import array_as_tensor, is_plain_dtype
from epbt_optuna.checkpoints.memory import Block
from epbt_optuna.checkpoints.paths import KeyPath, shown

__all__ = ["DEEPEST", "SPARSE_PARTS", "blocks_in"]

DEEPEST = 100  # levels: Python's pickler is recursive, and takes a few hundred
_LIMIT = 2**2039  # integers from here on are written by an opcode that torch does not read
_OF_TORCH = (torch.Size, torch.dtype, torch.device, torch.layout, torch.qscheme)
_SIMPLE = frozenset((bool, float, complex, str, bytes, type(None), *_OF_TORCH))
SPARSE_PARTS = {
    torch.sparse_coo: ("_indices", "_values"),
    torch.sparse_csr: ("crow_indices", "col_indices", "values"),
    torch.sparse_bsr: ("crow_indices", "col_indices", "values"),
    torch.sparse_csc: ("ccol_indices", "row_indices", "values"),
    torch.sparse_bsc: ("ccol_indices", "row_indices", "values"),
}


def blocks_in(state: Any) -> tuple[list[Block], bool]:
    """Check a state, and return the memory of the tensors and arrays in it, each once.

    Returns:
        The memory, and whether there is anything of NumPy's.

    Raises:
        TypeError: A value could not be read back as it is; the message names its key.
        ValueError: A tensor has no data.
    """
    walk = _Walk()
    walk.visit(state, KeyPath(), 0)
    return walk.blocks, walk.has_numpy


class _Walk:
    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.has_numpy = False
        self._seen: set[int] = set()
        self._open: set[int] = set()  # the containers that the walk is within

    def visit(self, value: Any, path: KeyPath, depth: int) -> None:
        kind = type(value)
        if kind in _SIMPLE:
            return
        if kind is int:
            _check_size(value, path)
        elif isinstance(value, np.generic):
            self.has_numpy = True
            _check_scalar(value, path)
        elif isinstance(value, np.dtype):
            self.has_numpy = True
            _check_dtype(value, path)
        elif id(value) in self._open:
            raise TypeError(f"`{shown(path)}` must not hold itself: a state is a tree.")
        elif id(value) not in self._seen:
            if depth > DEEPEST:
                raise TypeError(f"`{shown(path)}` must lie at most {DEEPEST} levels deep.")
            self._seen.add(id(value))
            self._open.add(id(value))
            self._visit_once(value, path, depth + 1)
            self._open.remove(id(value))

    def _visit_once(self, value: Any, path: KeyPath, depth: int) -> None:
        kind = type(value)
        if kind in (dict, OrderedDict, Counter):
            for key, item in value.items():
                self._visit_key(key, path.within("a key"), depth)
                self.visit(item, path.item(key), depth)
            self._visit_attributes(value, path, depth)
        elif kind in (list, tuple):
            for index, item in enumerate(value):
                self.visit(item, path.item(index), depth)
        elif kind is set:
            for item in value:
                self._visit_key(item, path.within("an element"), depth)
        elif kind in (torch.Tensor, torch.nn.Parameter):
            self.blocks += _blocks_of(value, path)
            self._visit_attributes(value, path, depth)
        elif kind is np.ndarray:
            self.has_numpy = True
            _check_dtype(value.dtype, path)
            self.blocks.append(_block_of_array(value, path))
        elif kind is not bytearray:
            _refuse(value, path)

    def _visit_key(self, key: Any, path: KeyPath, depth: int) -> None:
        """Check a key: tensors are none, for they are equal to themselves alone."""
        if type(key) is tuple:
            if depth > DEEPEST:
                raise TypeError(f"`{shown(path)}` must lie at most {DEEPEST} levels deep.")
            for item in key:
                self._visit_key(item, path.within("an item"), depth + 1)
        elif type(key) in _SIMPLE or type(key) is int or isinstance(key, np.generic | np.dtype):
            self.visit(key, path, depth)
        else:
            _refuse(key, path)

    def _visit_attributes(self, value: Any, path: KeyPath, depth: int) -> None:
        for name, item in getattr(value, "__dict__", {}).items():
            if isinstance(value, Counter):  # its pickle holds none
                raise TypeError(f"`{shown(path)}` must have no attributes but has {name!r}.")
            self.visit(item, path.attribute(name), depth)


def _check_size(value: int, path: KeyPath) -> None:
    if not -_LIMIT <= value < _LIMIT:
        raise TypeError(
            f"`{shown(path)}` must be an integer below 2**2039 but got one of "
            f"{value.bit_length()} bits: torch reads no larger ones."
        )


def _check_dtype(dtype: np.dtype[Any], path: KeyPath) -> None:
    if not is_plain_dtype(dtype):
        raise TypeError(
            f"`{shown(path)}` must have a dtype of numbers, strings, times or structures of these "
            f"but got {dtype}: others cannot be read back safely."
        )


def _check_scalar(value: np.generic, path: KeyPath) -> None:
    _check_dtype(value.dtype, path)
    again: Any = np.array(value)[()]
    # A string loses the NULs at its end; where two types have one dtype, one comes back.
    if type(again) is not type(value) or (value.dtype.kind in "SU" and again != value):
        _refuse(value, path)


def _blocks_of(tensor: torch.Tensor, path: KeyPath) -> list[Block]:
    if tensor.is_meta:
        raise ValueError(f"`{shown(path)}` must have data but got a tensor on the meta device.")
    if _is_ordinary(tensor):
        return [Block.of_tensor(tensor, path, tensor)]
    if not _comes_back(tensor):
        raise TypeError(
            f"`{shown(path)}` must be a tensor that can be read back as it is but got one of "
            f"{tensor.dtype} and {tensor.layout}, requires_grad={tensor.requires_grad}."
        )
    if tensor.layout in SPARSE_PARTS:
        parts = [getattr(tensor.detach(), name)() for name in SPARSE_PARTS[tensor.layout]]
        return [Block.of_tensor(tensor, path, part, is_ordinary=False) for part in parts]
    try:
        return [Block.of_storage(tensor, path)]
    except (NotImplementedError, RuntimeError):  # some devices have none
        return []


def _block_of_array(array: np.ndarray[Any, Any], path: KeyPath) -> Block:
    tensor = array_as_tensor(array)
    if tensor is None:
        return Block.of_array(array, path)
    return Block.of_tensor(array, path, tensor)


def _is_ordinary(tensor: torch.Tensor) -> bool:
    """Return whether a tensor is all in its storage, dtype, shape and strides."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
        return False
    if tensor.is_conj() or tensor.is_neg():
        return False
    return tensor.device.type in ("cpu", "cuda", "mps", "xpu") and _is_ordinary_dtype(tensor.dtype)


@cache
def _is_ordinary_dtype(dtype: torch.dtype) -> bool:
    return _comes_back(torch.empty(1, dtype=dtype))


def _comes_back(tensor: torch.Tensor) -> bool:
    """Save a tensor, read it back, and return whether it is of the same kind as before."""
    try:
        saved = tensor.detach()
        if type(tensor) is torch.Tensor:  # a Parameter's own is saved beside it
            saved.requires_grad_(tensor.requires_grad)
        file = io.BytesIO()
        torch.save(saved, file)
        file.seek(0)
        again = torch.load(file, weights_only=True)
        return all(
            getattr(again, name) == getattr(saved, name)
            for name in ("dtype", "layout", "device", "requires_grad", "is_quantized")
        ) and (saved.is_nested or again.shape == saved.shape)
    except Exception:  # torch raises all kinds of errors for what it cannot save or read
        return False


def _refuse(value: Any, path: KeyPath) -> NoReturn:
    cls = type(value)
    if issubclass(cls, torch.Tensor):
        raise TypeError(
            f"`{shown(path)}` must be a plain tensor but got {cls.__name__}: a checkpoint holds "
            "only what can be read back safely. Convert it, as by `.full_tensor()` or "
            "`.dequantize()`; of a lazy module, call the network once before."
        )
    cure = (
        "Save what its `.state_dict()` returns."
        if callable(getattr(cls, "state_dict", None))
        else "Convert it, as by `dict`, `list` or `.item()`, or save a file of it by `save_path`."
    )
    raise TypeError(
        f"`{shown(path)}` must be a dict, list, tuple, set, tensor, array, number, string, bytes "
        f"or None but got {cls.__module__}.{cls.__qualname__}: a checkpoint holds only what can be "
        f"read back safely. {cure}"
    )
