"""Packages that only some parts need, and what to say where one is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["needs_torch"]


@contextmanager
def needs_torch(what: str) -> Iterator[None]:
    """Say what needs torch, and which extra brings it, if the block cannot import it.

    Raises:
        ModuleNotFoundError: torch is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModuleNotFoundError(
            f"{what} needs torch, which is not installed: pip install 'epbt-optuna[torch]'",
            name="torch",
        ) from error
