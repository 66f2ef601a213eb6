"""The format of checkpoints: its version, and the error for bytes that are not of it."""

from __future__ import annotations

__all__ = ["FORMAT", "UnreadableError", "check_format"]

FORMAT = 1


class UnreadableError(Exception):
    """The bytes are not a checkpoint that can be read safely."""


def check_format(version: int) -> None:
    """Raise unless this version of the package reads checkpoints of a format.

    Raises:
        UnreadableError: It is newer.
    """
    if version > FORMAT:
        raise UnreadableError(
            f"it has format {version} but this version of epbt_optuna reads up to {FORMAT}"
        )
