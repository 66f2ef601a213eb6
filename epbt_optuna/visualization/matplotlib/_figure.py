"""What all matplotlib pictures share: where they are drawn, and a quiet frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from epbt_optuna._internal.text import printable
from epbt_optuna.visualization._imports import require
from epbt_optuna.visualization._style import INK, MOST_GENERATION_TICKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["LINE_STYLES", "hide_from", "literal", "make_axes", "set_generation_axis"]

LINE_STYLES = {"solid": "-", "dash": "--", "dot": ":"}


def literal(text: str) -> str:
    """Return a text so that matplotlib shows it letter by letter.

    Every text that comes from users goes through this: what is between two `$` is a formula.
    """
    return printable(text).replace("$", r"\$")


def make_axes(
    figure: Figure | SubFigure | None,
    n_rows: int = 1,
    n_columns: int = 1,
    *,
    size: tuple[float, float],
    **options: Any,
) -> Any:
    """Return an array of axes, shape (rows, columns), on white in a figure given or a new one.

    Args:
        figure: Where to draw. Default: a new figure of pyplot's, so that notebooks show it.
        n_rows: Rows of panels.
        n_columns: Columns of panels.
        size: Of a new figure, in inches.
        options: As for `Figure.subplots`.
    """
    if figure is None:
        figure = require("matplotlib.pyplot").figure(figsize=size, layout="constrained")
    array = figure.subplots(n_rows, n_columns, squeeze=False, **options)
    for axes in array.flat:
        _frame(axes)
    return array


def hide_from(panels: Any, n_used: int) -> None:
    """Take the panels that a grid has too many out of the picture."""
    for axes in panels[n_used:]:
        axes.remove()


def set_generation_axis(axes: Axes, n_generations: int) -> None:
    """Let the horizontal axis go over generations, with a tick for each or for round ones."""
    axes.set_xlabel("generation")
    axes.set_xlim(-0.6, n_generations - 0.4)
    most = MOST_GENERATION_TICKS + 1  # bins: so many generations are as many bins wide
    axes.locator_params(axis="x", nbins=most, integer=True, min_n_ticks=1)


def _frame(axes: Axes) -> None:
    axes.set_facecolor("white")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK)
    axes.grid(visible=True, color="#E8E8E8", linewidth=0.8)
    axes.set_axisbelow(True)
