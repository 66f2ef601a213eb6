"""NumPy arrays and scalars in checkpoints: written as tensors, rebuilt by functions of this module.

NumPy's own way back from a pickle takes whatever a file says of an array's type and memory. These
functions check it, so that torch may be allowed to call them for files of any origin.
Their names are part of the format of checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy

__all__ = ["REBUILDERS", "array_as_tensor", "is_plain_dtype", "reduce_numpy"]

_KINDS = frozenset("biufcSUVmM")  # not objects, nor strings of variable length
_OF_ANOTHER_PACKAGE = 2  # a dtype's `isbuiltin`
_Reduced = tuple[Callable[..., Any], tuple[Any, ...]]


def is_plain_dtype(dtype: np.dtype[Any]) -> bool:
    """Return whether values of a dtype are nothing but their bytes, and its description tells all.

    Structured dtypes are if their fields are.
    """
    if dtype.hasobject or dtype.isbuiltin == _OF_ANOTHER_PACKAGE:
        return False
    if dtype.subdtype is not None:
        return is_plain_dtype(dtype.subdtype[0])
    if dtype.fields is not None:
        return npy.descr_to_dtype(npy.dtype_to_descr(dtype)) == dtype and all(
            is_plain_dtype(field[0]) for field in dtype.fields.values()
        )
    return dtype.kind in _KINDS


def array_as_tensor(array: np.ndarray[Any, Any]) -> torch.Tensor | None:
    """Return a tensor on an array's own memory; None where torch has none of that kind."""
    if not array.flags.writeable or not array.dtype.isnative:
        return None
    try:
        return torch.from_numpy(array)
    except (TypeError, ValueError):  # a dtype, or strides, that torch does not have
        return None


def reduce_numpy(value: Any, tensor: torch.Tensor | None) -> _Reduced:
    """Return a call that rebuilds an array, a scalar or a dtype: a function and its arguments.

    Args:
        value: One whose dtype is plain.
        tensor: A tensor to save in place of an array, if there is one.
    """
    if isinstance(value, np.dtype):
        return rebuild_dtype, (npy.dtype_to_descr(value),)
    if isinstance(value, np.generic):
        return rebuild_scalar, (np.array(value),)
    if tensor is None:
        tensor = array_as_tensor(value)
    if tensor is not None:
        return rebuild_array, (tensor,)
    memory = np.frombuffer(value.tobytes(), np.uint8).copy()
    return rebuild_from_bytes, (torch.from_numpy(memory), value.dtype, value.shape)


def rebuild_array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """Return a tensor as an array on the same memory, if that is the CPU's."""
    return tensor.cpu().numpy()


def rebuild_from_bytes(
    memory: torch.Tensor, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> np.ndarray[Any, Any]:
    """Return an array of the bytes in a tensor.

    Raises:
        ValueError: There are too few bytes, or the dtype is not plain.
    """
    if not is_plain_dtype(dtype):
        raise ValueError(f"`dtype` must hold its values itself but got {dtype!r}.")
    array: np.ndarray[Any, Any] = np.ndarray(shape, dtype, buffer=memory.cpu().numpy())
    return array


def rebuild_scalar(array: np.ndarray[Any, Any]) -> Any:
    """Return the scalar in an array without dimensions."""
    return array[()]


def rebuild_dtype(description: Any) -> np.dtype[Any]:
    """Return the dtype with a description, as in the header of a file of NumPy's."""
    return npy.descr_to_dtype(description)


REBUILDERS = (rebuild_array, rebuild_from_bytes, rebuild_scalar, rebuild_dtype)
