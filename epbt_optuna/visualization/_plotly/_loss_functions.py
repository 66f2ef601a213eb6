"""`plot_loss_functions` in plotly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from epbt_optuna.visualization._figure_data.loss_functions import (
    LossFunctionsInfo,
    LossPanel,
    loss_functions_info,
)
from epbt_optuna.visualization._figure_data.schedule import ScheduleSource
from epbt_optuna.visualization._imports import require
from epbt_optuna.visualization._plotly._figure import finish, literal
from epbt_optuna.visualization._style import CROSS_ENTROPY_LIMITS, INK, LATE, grid_shape, short

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["plot_loss_functions"]


def plot_loss_functions(
    source: ScheduleSource | Mapping[str, ScheduleSource],
    *,
    prefix: str = "theta_",
    scaled: bool = False,
) -> go.Figure:
    """Plot the TaylorGLO losses along the best ancestry (figure 5), and cross-entropy.

    Each curve is one trial's loss over y, the true class's probability, in a problem of two
    classes: y = 1 is a perfect prediction, y = 0 a completely wrong one. Dark losses trained the
    network first, light ones last. The last panel is cross-entropy, −log y, on an axis of its
    own. A constant makes no difference to training, so the loss at y = 1 is taken off; its slope
    does: where a curve rises towards y = 1, it keeps the network from being too sure.

    Args:
        source: A study that a sampler of ours has bred in, a `Schedule`, or several of them by
            name, such as five repetitions: a panel for each.
        prefix: As for `TaylorGLOLoss.suggest`.
        scaled: Scale each loss to [0, 1], so that shapes can be compared. Default: the paper's
            equation (1), whose size is part of what evolves.

    Returns:
        The figure.

    Raises:
        ImportError: plotly is not installed.
        TypeError: `source` is neither of these.
        ValueError: A trial of an ancestry has no TaylorGLO loss, `source` names nothing, or a
            study is empty, is not ours, or has no best trial.
    """
    return _figure(loss_functions_info(source, prefix, scaled=scaled))


def _figure(info: LossFunctionsInfo) -> go.Figure:
    n_rows, n_columns = grid_shape(len(info.panels) + 1)
    names = [*(literal(short(panel.name)) for panel in info.panels), "cross-entropy"]
    figure = require("plotly.subplots").make_subplots(
        rows=n_rows,
        cols=n_columns,
        subplot_titles=names,
        horizontal_spacing=0.24 / (n_columns + 1),
        vertical_spacing=0.36 / (n_rows + 1),
    )
    for index, panel in enumerate(info.panels):
        row, column = divmod(index, n_columns)
        place = {"row": row + 1, "col": column + 1}
        _add_losses(figure, info, panel, place)
        figure.update_yaxes(title=info.loss_name if column == 0 else None, **place)
    row, column = divmod(len(info.panels), n_columns)
    place = {"row": row + 1, "col": column + 1}
    line = {"color": INK, "width": 2}
    figure.add_scatter(x=info.y, y=info.cross_entropy, mode="lines", line=line, **place)
    figure.update_yaxes(range=CROSS_ENTROPY_LIMITS, title="−log y", **place)
    figure.update_xaxes(title="y, probability of the true class", title_standoff=6)
    figure.add_scatter(x=[None], y=[None], mode="markers", marker=_time_scale(info), row=1, col=1)
    size = {"width": max(760, 180 + 330 * n_columns), "height": 120 + 330 * n_rows}
    return finish(figure, "TaylorGLO losses along the best ancestry", showlegend=False, **size)


def _add_losses(
    figure: go.Figure, info: LossFunctionsInfo, panel: LossPanel, place: dict[str, int]
) -> None:
    colours = _viridis([info.position(curve) for curve in panel.curves])
    for curve, colour in zip(panel.curves, colours, strict=True):
        figure.add_scatter(
            x=info.y,
            y=curve.losses,
            mode="lines",
            line={"color": colour, "width": 2},
            name=f"trial {curve.trial}, generation {curve.generation}",
            **place,
        )


def _time_scale(info: LossFunctionsInfo) -> dict[str, object]:
    """Return an invisible marker whose colour scale says which colour is which time."""
    return {
        "color": [0],
        "cmin": 0,
        "cmax": info.last_time or 1,
        "colorscale": _viridis([i / 8 for i in range(9)]),
        "colorbar": {"title": {"text": info.time_name, "side": "right"}, "thickness": 14},
    }


def _viridis(positions: list[float]) -> list[str]:
    """Return the colours at positions from 0, the earliest, to 1, the latest."""
    points = [LATE * position for position in positions]
    colours: list[str] = require("plotly.colors").sample_colorscale("Viridis", points)
    return colours
