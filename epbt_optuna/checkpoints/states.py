"""Checkpoints as bytes: what a state may hold, and its way into a file and back.

States are written by `torch.save` and read with `weights_only=True`, so reading one never runs
code. What could not be read back that way is refused when it is saved, by the name of its key.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any, cast

import torch

__all__ = [
    "FORMAT",
    "HashingWriter",
    "UnreadableError",
    "check_format",
    "digest_of",
    "read_state",
    "safe_state",
    "write_state",
]

FORMAT = 1

_PLAIN_TYPES = (bool, int, float, str, type(None), torch.dtype, torch.Size)
_TENSOR_TYPES = (torch.Tensor, torch.nn.Parameter)
_BLOCK = 1 << 20


class UnreadableError(Exception):
    """The bytes are not a checkpoint that can be read safely."""


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


def write_state(file: IO[bytes], state: Any, **origin: Any) -> tuple[int, str]:
    """Write a safe state with its format and origin; return size in bytes and SHA-256 digest.

    Raises:
        OSError: The file could not be written, for example because the disk is full.
    """
    writer = HashingWriter(file)
    try:
        torch.save({"format": FORMAT, **origin, "state": state}, cast(IO[bytes], writer))
    except RuntimeError as error:
        if writer.error is None:
            raise
        raise writer.error from error  # torch says no more than that a position is unexpected
    return writer.size, writer.digest


def read_state(path: Path, map_location: Any) -> Any:
    """Read a state back without running any code that its bytes may hold.

    Raises:
        UnreadableError: The bytes are no checkpoint, or were written by a newer version.
    """
    try:
        payload = torch.load(
            path,
            map_location=map_location,
            weights_only=True,
            mmap=os.name == "posix",  # elsewhere a mapped file could not be deleted
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


def check_format(version: int) -> None:
    """Raise unless this version of the package reads checkpoints of a format.

    Raises:
        UnreadableError: It is newer.
    """
    if version > FORMAT:
        raise UnreadableError(
            f"it has format {version} but this version of epbt_optuna reads up to {FORMAT}"
        )


def digest_of(path: Path) -> str:
    """Return the SHA-256 digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


class HashingWriter:
    """A file that counts and digests what passes through it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0
        self.error: OSError | None = None

    @property
    def digest(self) -> str:
        """The SHA-256 digest of what was written."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        """Write and digest some bytes."""
        self._hash.update(data)
        self.size += len(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Flush the file."""
        self._file.flush()


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
