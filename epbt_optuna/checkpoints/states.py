"""Checkpoints as bytes: what a state may hold, and its way into a file and back.

States are written by `torch.save` and read with `weights_only=True`, so reading one never runs
code. What could not be read back that way is refused when it is saved, by the name of its key.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import IO, Any

import torch

from epbt_optuna.checkpoints.format import FORMAT, UnreadableError, check_format

__all__ = ["read_state", "safe_state", "write_state"]

_PLAIN_TYPES = (bool, int, float, str, type(None), torch.dtype, torch.Size)
_TENSOR_TYPES = (torch.Tensor, torch.nn.Parameter)
_ZIP = b"PK\x03\x04"


def safe_state(state: Any, path: str = "state") -> Any:
    """Return `state` as it can be saved: checked, and without memory that is not its own.

    A view, such as one model's slice of a stacked batch, would be saved with all the memory it
    is a view of; it is copied instead. Everything else is returned as it is.

    Args:
        state: Any nesting of dicts, lists and tuples of tensors, numbers, strings and None.
        path: How the error names the value.

    Raises:
        TypeError: A value has a type that `torch.load(weights_only=True)` would refuse.
        ValueError: A tensor has no data.
    """
    if isinstance(state, torch.Tensor):
        return _compact(state, path)
    if type(state) in (dict, OrderedDict):
        return _safe_dict(state, path)
    if type(state) in (list, tuple):
        return type(state)(safe_state(value, f"{path}[{i}]") for i, value in enumerate(state))
    return _plain(state, path)


def write_state(file: IO[bytes], state: Any, study_name: str, trial: int) -> None:
    """Write a safe state, with its format and which trial of which study saved it."""
    torch.save({"format": FORMAT, "study": study_name, "trial": trial, "state": state}, file)


def read_state(file: IO[bytes], map_location: Any, *, mmap: bool = False) -> Any:
    """Read a state back without running any code that its bytes may hold.

    Args:
        file: An open file, at its start.
        map_location: Where tensors go, as for `torch.load`.
        mmap: Whether to map the file into memory instead of reading it, where the system can.

    Raises:
        UnreadableError: The bytes are no checkpoint, or were written by a newer version.
    """
    if file.read(len(_ZIP)) != _ZIP:  # torch would read its formats of before 2020, too
        raise UnreadableError("its bytes cannot be read safely")
    file.seek(0)
    mmap = mmap and os.name == "posix"
    try:
        payload = torch.load(
            # torch maps what has a path; this one is the open file's own, whatever its name is now.
            f"/dev/fd/{file.fileno()}" if mmap else file,
            map_location=map_location,
            weights_only=True,
            mmap=mmap,
        )
    except (OSError, torch.OutOfMemoryError):  # nothing is wrong with the bytes
        raise
    except Exception as error:  # bytes that somebody has changed can make torch raise anything
        # Not torch's own message: it advises to read the file unsafely.
        raise UnreadableError("its bytes cannot be read safely") from error
    if not isinstance(payload, dict) or type(payload.get("format")) is not int:
        raise UnreadableError("it was not written by a CheckpointStore")
    check_format(payload["format"])
    if "state" not in payload:
        raise UnreadableError("it was not written by a CheckpointStore")
    return payload["state"]


def _safe_dict(state: dict[Any, Any], path: str) -> dict[Any, Any]:
    safe = type(state)(
        (_plain(key, f"a key of {path}"), safe_state(value, f"{path}[{key!r}]"))
        for key, value in state.items()
    )
    for name, value in getattr(state, "__dict__", {}).items():  # a state_dict's _metadata
        setattr(safe, name, safe_state(value, f"{path}.{name}"))
    return safe


def _compact(tensor: torch.Tensor, path: str) -> torch.Tensor:
    if type(tensor) not in _TENSOR_TYPES:
        raise TypeError(
            f"`{path}` must be a plain tensor but got {type(tensor).__name__}: a checkpoint holds "
            "only what can be read back safely."
        )
    if tensor.is_meta:
        raise ValueError(f"`{path}` must have data but got a tensor on the meta device.")
    own_bytes = tensor.numel() * tensor.element_size()
    if tensor.layout != torch.strided or tensor.untyped_storage().nbytes() <= own_bytes:
        return tensor
    copy = tensor.detach().clone()
    if isinstance(tensor, torch.nn.Parameter):
        return torch.nn.Parameter(copy, tensor.requires_grad)
    return copy


def _plain(value: Any, path: str) -> Any:
    if type(value) not in _PLAIN_TYPES:
        raise TypeError(
            f"`{path}` must be a dict, list, tuple, tensor, number, string or None but got "
            f"{type(value).__module__}.{type(value).__qualname__}: a checkpoint holds only what "
            "can be read back safely. Convert it, for example with `.item()`, `.tolist()` or "
            "`torch.from_numpy`."
        )
    return value
