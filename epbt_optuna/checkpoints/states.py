"""Checkpoints as bytes: a state's way into a file and back.

States are written by `torch.save` and read with `weights_only=True`, so reading one never runs
code. What could not be read back that way is refused when it is saved, by the name of its key.
"""

from __future__ import annotations

import mmap
import os
import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import torch

from epbt_optuna.checkpoints.arrays import REBUILDERS, reduce_numpy
from epbt_optuna.checkpoints.contents import blocks_in
from epbt_optuna.checkpoints.format import FORMAT, UnreadableError, check_format
from epbt_optuna.checkpoints.memory import copies_of_views

__all__ = ["SafeState", "check_map_location", "read_state", "safe_state", "write_state"]

_ZIP = b"PK\x03\x04"
# Empty bytes are pickled as a call of `bytes`, and torch reads other ones by itself.
_REBUILDERS = (*REBUILDERS, bytes)
_mmap_options = threading.Lock()


@dataclass(frozen=True)
class SafeState:
    """A state that can be saved, and what to save in place of some tensors in it.

    Attributes:
        state: The state itself.
        copies: By its `id`, a tensor without the memory that is not its own.
        has_numpy: Whether there is anything of NumPy's in it.
    """

    state: Any
    copies: dict[int, torch.Tensor]
    has_numpy: bool


def safe_state(state: Any) -> SafeState:
    """Check that a state comes back the same when it is read.

    A view, such as one model's slice of a stacked batch, would be saved with all the memory it
    is a view of; it is copied instead, together with what shares its memory in the state.

    Raises:
        TypeError: A value could not be read back as it is; the message names its key. Or the state
            is None, as of a function that forgot to return it: children would begin afresh.
        ValueError: A tensor has no data.
    """
    if state is None:
        raise TypeError("`state` must hold something but got None, which founders inherit.")
    blocks, has_numpy = blocks_in(state)
    return SafeState(state, copies_of_views(blocks), has_numpy)


def write_state(file: IO[bytes], safe: SafeState, study_name: str, trial: int) -> None:
    """Write a safe state, with its format and which trial of which study saved it."""
    content = {"format": FORMAT, "study": study_name, "trial": trial, "state": safe.state}
    if not safe.copies and not safe.has_numpy:
        with _without_checksums():
            torch.save(content, file)
        return

    class Pickler(pickle.Pickler):
        """Saves copies of views, and arrays as tensors; keeps what is one object one object."""

        def reducer_override(self, obj: Any) -> Any:
            copy = safe.copies.get(id(obj))  # the state keeps its tensors, so no id is used twice
            if isinstance(obj, np.ndarray | np.generic | np.dtype):
                return reduce_numpy(obj, copy)
            return NotImplemented if copy is None else copy.__reduce_ex__(2)

    class PickleModule:
        """What torch takes of a module like `pickle`."""

    PickleModule.Pickler = Pickler  # type: ignore[attr-defined]
    with _without_checksums():
        torch.save(content, file, pickle_module=PickleModule)


@contextmanager
def _without_checksums() -> Iterator[None]:
    """Leave out the zip format's CRC-32: torch never looks at it, and the record has a digest.

    Computing it takes longer than the digest. The option is the process's or the thread's, by the
    version of torch. Who finds it off lets it be: if another thread of ours is saving, that one
    turns it on again. Nobody who sees it off for a moment reads anything wrong.
    """
    options = torch.serialization
    if not hasattr(options, "set_crc32_options") or not options.get_crc32_options():
        yield  # torch 2.5 has no such option
        return
    options.set_crc32_options(False)
    try:
        yield
    finally:
        options.set_crc32_options(True)


def check_map_location(map_location: Any) -> None:
    """Raise unless tensors can go where `map_location` says, if that is a device.

    Raises:
        ValueError: There is no such device here.
    """
    if isinstance(map_location, str | torch.device):
        try:
            torch.empty(0, device=map_location)
        except Exception as error:  # each kind of device has errors of its own
            raise ValueError(
                f"`map_location` must be a device that is here but got {str(map_location)!r}: "
                f"{_first_line(error)}"
            ) from error


def read_state(file: IO[bytes], map_location: Any, *, mmap: bool = False) -> Any:
    """Read a state back without running any code that its bytes may hold.

    Args:
        file: An open file, at its start.
        map_location: Where tensors go, as for `torch.load`.
        mmap: Whether to map the file into memory instead of reading it, where the system can.

    Raises:
        UnreadableError: The bytes are no checkpoint, were written by a newer version, or cannot
            be read here.
        MemoryError: There is too little memory.
    """
    if file.read(len(_ZIP)) != _ZIP:  # torch would read its formats of before 2020, too
        raise UnreadableError("its bytes cannot be read safely")
    file.seek(0)
    known = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([each for each in _REBUILDERS if each not in known])
    try:
        payload = _load(file, map_location, mapped=mmap and os.name == "posix")
    except (OSError, MemoryError, torch.OutOfMemoryError):  # nothing is wrong with the bytes
        raise
    except Exception as error:  # bytes that somebody has changed can make torch raise anything
        reason = _first_line(error)
        if "allocate memory" in reason or "not enough memory" in reason:
            raise MemoryError(reason) from error
        if isinstance(error, pickle.UnpicklingError) or "weights_only" in reason:
            # Not torch's own message: it advises to read the file unsafely.
            raise UnreadableError("its bytes cannot be read safely") from error
        raise UnreadableError(f"torch cannot read it here: {reason}") from error
    if not isinstance(payload, dict) or type(payload.get("format")) is not int:
        raise UnreadableError("it was not written by a CheckpointStore")
    check_format(payload["format"])
    if "state" not in payload:
        raise UnreadableError("it was not written by a CheckpointStore")
    return payload["state"]


def _load(file: IO[bytes], map_location: Any, *, mapped: bool) -> Any:
    if not mapped:
        return torch.load(file, map_location=map_location, weights_only=True, mmap=False)
    with _mapping_privately():
        # torch maps what has a path; this one is the open file's own, whatever its name is now.
        path = f"/dev/fd/{file.fileno()}"
        return torch.load(path, map_location=map_location, weights_only=True, mmap=True)


@contextmanager
def _mapping_privately() -> Iterator[None]:
    """Keep training out of the file, also where the user has torch map files of his own shared.

    The option is torch's for the whole process. The lock makes sure that of two threads of ours,
    none puts it back while the other one is still reading.
    """
    with _mmap_options:
        before = torch.serialization.get_default_mmap_options() or mmap.MAP_PRIVATE
        torch.serialization.set_default_mmap_options(mmap.MAP_PRIVATE)
        try:
            yield
        finally:
            torch.serialization.set_default_mmap_options(before)


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}"
