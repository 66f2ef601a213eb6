"""Import of the plotting packages, which are needed only once something is plotted."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["require"]


def require(module: str) -> Any:
    """Return a module of a plotting package.

    Raises:
        ImportError: The package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.split(".")[0]
        if error.name is None or error.name.split(".")[0] != package:
            raise
        raise ImportError(
            f"Plotting needs {package}, which is not installed: "
            "pip install 'epbt-optuna[visualization]'",
            name=package,
        ) from error
