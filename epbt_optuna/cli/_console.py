"""The terminal: as wide as it is; in a pipe or a file, without colours and as wide as needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.style import StyleType
from rich.table import Table
from rich.text import Text

from epbt_optuna._internal.text import printable

__all__ = ["Row", "console", "fitted_table"]

_UNBOUNDED = 10_000

Row = tuple[Sequence[str], StyleType | None]
"""The cells of a row, and its style."""


class _Terminal(Console):
    """A console that shows strings, such as the names in a study, as they are and nothing more."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a string, also one in a table, as what is shown of it."""
        return super().render_str(printable(text), **options)


def console() -> Console:
    """Return the console on standard output."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()  # None where it is closed
    is_bounded = is_terminal or os.environ.get("COLUMNS", "0").strip("0").isdecimal()
    width = None if is_bounded else _UNBOUNDED
    return _Terminal(width=width, highlight=False, markup=False, emoji=False)


def fitted_table(
    terminal: Console,
    columns: Sequence[str],
    rows: Iterable[Row],
    *,
    expendable: Sequence[str] = (),
) -> Table:
    """Return a table that fits the terminal.

    A number that is cut off misleads, so where there is too little room, whole columns go.

    Args:
        terminal: The terminal.
        columns: The headings; the first column, if it has none, is to the left.
        rows: The rows.
        expendable: The columns that may go, in this order.
    """
    rows = list(rows)
    unbounded = terminal.options.update_width(_UNBOUNDED)
    table = _table(columns, rows, shown=columns, gap=2)
    for n_dropped in range(len(expendable) + 1):
        if terminal.measure(table, options=unbounded).maximum <= terminal.width:
            break
        gone = expendable[:n_dropped]
        table = _table(columns, rows, shown=[c for c in columns if c not in gone], gap=1)
    return table


def _table(columns: Sequence[str], rows: Sequence[Row], *, shown: Sequence[str], gap: int) -> Table:
    table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="bold")
    for column in shown:
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    places = [columns.index(column) for column in shown]
    for cells, style in rows:
        table.add_row(*(cells[place] for place in places), style=style)
    return table
