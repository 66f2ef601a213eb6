"""The mark of a tensor that holds something for each member of a batched generation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Each", "each"]


@dataclass(frozen=True, eq=False)  # `==` of tensors is no truth value
class Each:
    """A value whose leading dimension is that of the members: see `each`."""

    value: Any


def each(value: Any) -> Each:
    """Mark a tensor as the members' own: member i has `value[i]`.

    What is not marked is everybody's. Nothing is guessed from shapes, since a batch may well be as
    large as a generation.

    Args:
        value: A tensor of shape (P, ...), for P members.
    """
    return Each(value)
