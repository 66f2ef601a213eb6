"""What all plotly figures share: a light background, a frame, a font and its sizes."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from epbt_optuna._internal.text import printable
from epbt_optuna.visualization._imports import require
from epbt_optuna.visualization._style import INK, MOST_GENERATION_TICKS

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["BLANK", "finish", "generation_axis", "literal"]

BLANK = {"showticklabels": False, "showgrid": False, "ticks": ""}


def literal(text: str) -> str:
    """Return a text so that plotly shows it letter by letter.

    Every text that comes from users goes through this: plotly takes `<b>` for a tag, `&lt;` for
    what it stands for, and what is between two `$` for a formula. It knows no entities for quotes.
    """
    return html.escape(printable(text), quote=False).replace("$", "&#36;")


def finish(figure: go.Figure, title: str, *, width: int, height: int, **layout: Any) -> go.Figure:
    """Give a figure its title, size and look, and return it; what is set in it already stays."""
    go = require("plotly.graph_objects")
    axis = {"showline": True, "linecolor": INK, "ticks": "outside", "zeroline": False}
    template = go.layout.Template(require("plotly.io").templates["plotly_white"])
    template.layout.xaxis.update(axis)
    template.layout.yaxis.update(axis)
    figure.update_annotations(font={"size": 14, "color": INK})
    return figure.update_layout(
        template=template,
        font={"color": INK},
        title={"text": literal(title), "x": 0.02, "xanchor": "left", "y": 1 - 24 / height},
        width=width,
        height=height,
        margin={"t": 70, "l": 70, "r": 30, "b": 60},
        **layout,
    )


def generation_axis(n_generations: int) -> dict[str, Any]:
    """Return an axis over generations with a tick for each, or fewer where they are too many."""
    step = 1 if n_generations <= MOST_GENERATION_TICKS else None  # or as plotly thinks best
    return {"range": [-0.6, n_generations - 0.4], "dtick": step}
