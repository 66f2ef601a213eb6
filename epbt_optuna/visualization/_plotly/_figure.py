"""What all plotly figures share: a light background, a frame, a font and its sizes."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from epbt_optuna.visualization._imports import require
from epbt_optuna.visualization._style import INK

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["BLANK", "finish", "with_alpha"]

BLANK = {"showticklabels": False, "showgrid": False, "ticks": ""}


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
        title={"text": html.escape(title), "x": 0.02, "xanchor": "left", "y": 1 - 24 / height},
        width=width,
        height=height,
        margin={"t": 70, "l": 70, "r": 30, "b": 60},
        **layout,
    )


def with_alpha(colour: str, alpha: float) -> str:
    """Return a hexadecimal colour in plotly's notation for translucent ones."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"
