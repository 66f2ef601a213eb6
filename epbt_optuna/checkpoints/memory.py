"""Which tensors and arrays of a state share memory, and what of it has to be copied to be saved.

torch saves the whole memory that a tensor is a view of: one model's slice of a stacked batch would
be saved with the batch. So a slice is copied, and slices that overlap are copied together, since
they are to share memory again when they are read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
import torch

from epbt_optuna.checkpoints.paths import KeyPath, shown

__all__ = ["Block", "copies_of_views", "like"]

_MAX_WORK = 1_000_000  # candidates that NumPy may try, which takes less than a second


@dataclass(eq=False, slots=True)
class Block:
    """The memory of one tensor or array in a state.

    Attributes:
        owner: The tensor or array.
        path: The keys that lead to it.
        tensor: An ordinary tensor on this memory, which is saved for the owner; None where the
            owner is saved in another way, so that nothing else can share its memory.
        space: What addresses are to be compared within.
        address: Of the first element.
        shape: How many elements there are in each dimension.
        strides: From one element to the next, in bytes.
        item: Bytes of an element.
        start: The address of the first byte.
        end: The address behind the last byte.
        has_gaps: Whether there are bytes in between that are not its own.
    """

    owner: Any
    path: KeyPath
    tensor: torch.Tensor | None
    space: tuple[str, int]
    address: int
    shape: Sequence[int]
    strides: Sequence[int]
    item: int
    start: int = field(init=False)
    end: int = field(init=False)
    has_gaps: bool = field(init=False)

    def __post_init__(self) -> None:
        size = math.prod(self.shape) * self.item
        self.start, self.end, self.has_gaps = self.address, self.address + size, False
        if self.tensor is not None and self.tensor.is_contiguous():  # nearly all; so no loop
            return
        if size > 0:
            steps = [(n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)]
            self.start += sum(step for step in steps if step < 0)
            self.end = self.address + sum(step for step in steps if step > 0) + self.item
        self.has_gaps = self.end - self.start > size

    @classmethod
    def of_tensor(
        cls, owner: Any, path: KeyPath, tensor: torch.Tensor, *, is_ordinary: bool = True
    ) -> Block:
        """Return the block of a tensor with strides."""
        item = tensor.element_size()
        strides = [stride * item for stride in tensor.stride()]
        saved = tensor if is_ordinary else None
        place = (_space_of(tensor), tensor.data_ptr(), tensor.shape)
        return cls(owner, path, saved, *place, strides, item)

    @classmethod
    def of_storage(cls, owner: torch.Tensor, path: KeyPath) -> Block:
        """Return the block of all that a tensor may be a view of."""
        storage = owner.untyped_storage()
        place = (_space_of(owner), storage.data_ptr(), (storage.nbytes(),))
        return cls(owner, path, None, *place, (1,), 1)

    @classmethod
    def of_array(cls, array: np.ndarray[Any, Any], path: KeyPath) -> Block:
        """Return the block of an array that cannot be saved as a tensor on its memory."""
        address = array.__array_interface__["data"][0]
        return cls(array, path, None, _CPU, address, array.shape, array.strides, array.itemsize)

    def fills_its_storage(self) -> bool:
        """Return whether there is nothing around the tensor that would be saved with it."""
        if self.tensor is None:
            return True  # nothing can be done about it
        return self.tensor.untyped_storage().nbytes() == self.end - self.start

    def shares_with(self, other: Block) -> bool:
        """Return whether a byte belongs to this block and another one of the same space."""
        if self.start >= other.end or other.start >= self.end:
            return False
        if not (self.has_gaps or other.has_gaps):
            return True
        try:
            mine, others = np.asarray(_Placed(self)), np.asarray(_Placed(other))
            return np.shares_memory(mine, others, max_work=_MAX_WORK)  # type: ignore[arg-type]
        except np.exceptions.TooHardError:  # saving them together is right in any case
            return True


class _Placed:
    """A block as NumPy asks for it; what is at its addresses is never looked at."""

    def __init__(self, block: Block) -> None:
        self.__array_interface__ = {
            "version": 3,
            "data": (block.address, True),
            "shape": tuple(block.shape),
            "strides": tuple(block.strides),
            "typestr": f"|V{block.item}",
        }


def copies_of_views(blocks: Sequence[Block]) -> dict[int, torch.Tensor]:
    """Return, by the `id` of its owner, what to save in place of a tensor or array.

    Raises:
        TypeError: Two that share memory could not share it again when they are read.
    """
    copies: dict[int, torch.Tensor] = {}
    for group in _sharing(blocks):
        if len(group) == 1 and group[0].fills_its_storage():
            continue
        _check_can_share(group)
        views = [(block, block.tensor) for block in group if block.tensor is not None]
        start, end = group[0].start, max(block.end for block in group)
        storages = {tensor.untyped_storage()._cdata: tensor for _, tensor in views}
        sizes = [tensor.untyped_storage().nbytes() for tensor in storages.values()]
        if not views or sizes == [end - start]:
            continue
        block, tensor = views[0]
        if len(views) == 1 and block.has_gaps:
            copies[id(block.owner)] = like(block.owner, tensor.detach().clone())
            continue
        memory = torch.empty(end - start, dtype=torch.uint8, device=tensor.device)
        for block, tensor in views:
            _view(memory, torch.uint8, block.start - start, (block.end - block.start,), (1,)).copy_(
                _bytes_of(block, tensor)
            )
            offset = (block.start - start) // tensor.element_size()
            view = _view(memory, tensor.dtype, offset, tensor.shape, tensor.stride())
            copies[id(block.owner)] = like(block.owner, view)
    return copies


# On the CPU two storages may share memory, since each array of NumPy's becomes one of its own. On
# other devices an address need not be a number of bytes, so each storage is compared by itself.
_CPU = ("cpu", 0)


def _space_of(tensor: torch.Tensor) -> tuple[str, int]:
    if tensor.device.type == "cpu":
        return _CPU
    return str(tensor.device), tensor.untyped_storage().data_ptr()


def _sharing(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """Yield the blocks in groups that share memory, each in the order of its addresses."""
    for group in _overlapping(blocks):
        if not any(block.has_gaps for block in group):
            yield group
            continue
        parts: list[list[Block]] = []
        for block in group:
            joined = [part for part in parts if any(map(block.shares_with, part))]
            parts = [part for part in parts if part not in joined]
            parts.append([*chain.from_iterable(joined), block])
        yield from (sorted(part, key=attrgetter("start")) for part in parts)


def _overlapping(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """Yield the blocks in groups whose bounds overlap, each in the order of its addresses."""
    group: list[Block] = []
    end = 0
    for block in sorted(blocks, key=attrgetter("space", "start")):
        if group and (block.space != group[0].space or block.start >= end):
            yield group
            group, end = [], 0
        group.append(block)
        end = max(end, block.end)
    if group:
        yield group


def _check_can_share(group: Sequence[Block]) -> None:
    first, *others = group
    for block in others:
        if first.tensor is not None and block.tensor is not None:
            distance = block.start - first.start
            is_aligned = distance % block.tensor.element_size() == 0
            if block.tensor.dtype == first.tensor.dtype and is_aligned:
                continue
        raise TypeError(
            f"`{shown(block.path)}` must not share memory with `{shown(first.path)}`, which is of "
            "another kind: they would not share it when they are read back. Copy one of them."
        )


def _view(
    memory: torch.Tensor,
    dtype: torch.dtype,
    offset: int,
    shape: Sequence[int],
    strides: Sequence[int],
) -> torch.Tensor:
    view = torch.empty(0, dtype=dtype, device=memory.device)
    return view.set_(memory.untyped_storage(), offset, tuple(shape), tuple(strides))


def _bytes_of(block: Block, tensor: torch.Tensor) -> torch.Tensor:
    """Return what lies between the first and the last byte of a block."""
    if block.start == block.end:  # without elements there is no address
        return torch.empty(0, dtype=torch.uint8, device=tensor.device)
    offset = block.start - tensor.untyped_storage().data_ptr()
    return _view(tensor, torch.uint8, offset, (block.end - block.start,), (1,))


def like(owner: Any, tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor with what else its owner has: class, attributes, `requires_grad`."""
    if not isinstance(owner, torch.Tensor):
        return tensor
    if isinstance(owner, torch.nn.Parameter):
        tensor = torch.nn.Parameter(tensor, owner.requires_grad)
    tensor.requires_grad_(owner.requires_grad)
    vars(tensor).update(vars(owner))
    return tensor
