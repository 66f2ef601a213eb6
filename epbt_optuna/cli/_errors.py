"""What a user got wrong, or a machine does not have, as a sentence; bugs stay bugs."""

from __future__ import annotations

import sys

from epbt_optuna._internal.text import without_passwords

__all__ = ["first_line", "sentence"]


def sentence(error: Exception) -> str | None:
    """Return what to tell the user of an error that bad input, a disk or a network caused.

    Passwords of databases and servers are left out, whoever made the message.

    Returns:
        The sentence; None if the error is a bug or click's own.
    """
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    from epbt_optuna.checkpoints.records import CheckpointError
    from epbt_optuna.tracking import TrackingError

    if isinstance(error, BrokenPipeError):  # `epbt … | head`: click ends quietly
        return None
    if isinstance(error, ValueError | ImportError | OSError | CheckpointError | TrackingError):
        return without_passwords(str(error))
    grpc = sys.modules.get("grpc")
    if isinstance(error, OptunaError | SQLAlchemyError) or (
        grpc is not None and isinstance(error, grpc.RpcError)
    ):
        return f"The storage failed: {without_passwords(first_line(error))}"
    return None


def first_line(error: BaseException) -> str:
    """Return what the first cause of an error says first; databases go on with statements."""
    while (cause := getattr(error, "orig", None) or error.__cause__) is not None:
        error = cause
    return str(error).strip().split("\n")[0] or type(error).__name__
