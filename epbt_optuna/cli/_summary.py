"""`epbt summary`: the study in brief, and a row for each generation."""

from __future__ import annotations

from optuna import Study
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from epbt_optuna.cli._console import console, fitted_table
from epbt_optuna.lineage.overview import GENERATION_COLUMNS, generation_rows, study_rows

__all__ = ["print_summary", "summary_of"]

_EXPENDABLE = ("worst", "mean", "trial", "reports", "pruned", "failed", "diversity", "median")


def print_summary(study: Study) -> None:
    """Print a study in brief, and a row for each generation.

    Raises:
        ValueError: The study is empty, or no sampler of ours has asked a trial in it.
    """
    terminal = console()
    terminal.print(summary_of(study, terminal))


def summary_of(study: Study, terminal: Console, height: int | None = None) -> Group:
    """Return what `print_summary` prints.

    Args:
        study: The study.
        terminal: Where it is to fit.
        height: How many lines there may be, or None; generations that are too many go, the first
            ones first.

    Raises:
        ValueError: As for `print_summary`.
    """
    brief = Table.grid(padding=(0, 2))
    lines = study_rows(study)
    for name, text in lines:
        brief.add_row(Text(name, style="dim"), text)
    rows = generation_rows(study)
    if height is not None:
        rows = rows[-max(1, height - len(lines) - 3) :]
    styled = ((row, None) for row in rows)
    generations = fitted_table(terminal, GENERATION_COLUMNS, styled, expendable=_EXPENDABLE)
    title = terminal.render_str(study.study_name, style="bold")
    return Group(title, brief, Text(), generations)
