"""The mark of what members of a batched generation do not share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Each"]


@dataclass(frozen=True)
class Each:
    """Marks a tensor with a leading dimension of members: member i has `value[i]` as its own."""

    value: Any
