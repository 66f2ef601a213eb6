"""What every part may use and nobody outside should: Optuna's private names, attrs, checks."""

from __future__ import annotations

__all__: list[str] = []
