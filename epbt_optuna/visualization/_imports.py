"""Import of the plotting packages, which are needed only once something is plotted."""

from __future__ import annotations

import importlib
from typing import Any

from epbt_optuna._internal.extras import needs

__all__ = ["require"]


def require(module: str) -> Any:
    """Return a module of a plotting package."""
    with needs(module.split(".")[0], "Plotting", extra="visualization"):
        return importlib.import_module(module)
