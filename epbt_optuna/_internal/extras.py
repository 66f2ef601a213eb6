"""Packages that only some parts need, and what to say where one is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["needs"]


@contextmanager
def needs(package: str, what: str, extra: str | None = None) -> Iterator[None]:
    """Say what needs a package, and which extra brings it, if the block cannot import it.

    Args:
        package: The package.
        what: What needs it.
        extra: The extra. Default: it has the package's name.

    Raises:
        ModuleNotFoundError: The package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != package:
            raise
        raise ModuleNotFoundError(
            f"{what} needs {package}, which is not installed: "
            f"pip install 'epbt-optuna[{extra or package}]'",
            name=package,
        ) from error
