"""`epbt summary`: the study in brief, and a row for each generation."""

from __future__ import annotations

from optuna import Study
from rich.table import Table
from rich.text import Text

from epbt_optuna.cli._console import console, fitted_table
from epbt_optuna.lineage.overview import GENERATION_COLUMNS, facts, generation_rows

__all__ = ["print_summary"]

_EXPENDABLE = ("worst", "mean", "trial", "reports", "pruned", "failed", "diversity", "median")


def print_summary(study: Study) -> None:
    """Print it.

    Raises:
        ValueError: The study is empty, or no sampler of ours has asked a trial in it.
    """
    brief = Table.grid(padding=(0, 2))
    for name, text in facts(study):
        brief.add_row(Text(name, style="dim"), text)
    terminal = console()
    rows = ((row, None) for row in generation_rows(study))
    generations = fitted_table(terminal, GENERATION_COLUMNS, rows, expendable=_EXPENDABLE)
    terminal.print(study.study_name, style="bold")
    terminal.print(brief)
    terminal.print()
    terminal.print(generations)
