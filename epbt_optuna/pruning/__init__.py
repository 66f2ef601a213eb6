"""Pruning: individuals that have diverged, or from which nobody will descend, stop early.

`standing.py` says where an individual stands in its generation and what that lets it expect, and
`reports.py` what everybody had reported by then; `pruner.py` reads the generation and decides.
"""

from __future__ import annotations

from epbt_optuna.pruning.pruner import EPBTPruner

__all__ = ["EPBTPruner"]
