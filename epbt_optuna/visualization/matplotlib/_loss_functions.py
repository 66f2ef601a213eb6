"""`plot_loss_functions` in matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from epbt_optuna.visualization._figure_data.loss_functions import (
    LossFunctionsInfo,
    loss_functions_info,
)
from epbt_optuna.visualization._figure_data.schedule import ScheduleSource
from epbt_optuna.visualization._imports import require
from epbt_optuna.visualization._style import CROSS_ENTROPY_LIMITS, INK, LATE, grid_shape, short
from epbt_optuna.visualization.matplotlib._figure import hide_from, literal, make_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

__all__ = ["plot_loss_functions"]


def plot_loss_functions(
    source: ScheduleSource | Mapping[str, ScheduleSource],
    *,
    prefix: str = "theta_",
    scaled: bool = False,
    figure: Figure | SubFigure | None = None,
) -> Any:
    """Plot the TaylorGLO losses along the best ancestry (figure 5), and cross-entropy.

    What the curves are, `epbt_optuna.visualization.plot_loss_functions` says.

    Args:
        source: As there.
        prefix: As there.
        scaled: As there.
        figure: Where to draw. Default: a new figure of pyplot's.

    Returns:
        An array of `matplotlib.axes.Axes`, shape (runs + 1,): cross-entropy comes last.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: As there.
        ValueError: As there.
    """
    info = loss_functions_info(source, prefix, scaled=scaled)
    n_panels = len(info.panels) + 1
    n_rows, n_columns = grid_shape(n_panels)
    size = (max(7.0, 1.2 + 3.2 * n_columns), 0.6 + 3.0 * n_rows)
    grid = make_axes(figure, n_rows, n_columns, size=size)
    panels = grid.ravel()
    colours = _colours()
    for axes, panel in zip(panels, info.panels, strict=False):
        for curve in panel.curves:
            axes.plot(info.y, curve.losses, color=colours(info.position(curve)))
        axes.set_title(literal(short(panel.name)), fontsize="medium")
    for axes in grid[:, 0]:
        axes.set_ylabel(info.loss_name)
    _draw_cross_entropy(panels[n_panels - 1], info)
    for axes in panels:
        axes.set_xlabel("y, probability of the true class")
    hide_from(panels, n_panels)
    panels[0].figure.suptitle("TaylorGLO losses along the best ancestry")
    _add_time_scale(panels[:n_panels], info)
    return panels[:n_panels]


def _draw_cross_entropy(axes: Any, info: LossFunctionsInfo) -> None:
    axes.plot(info.y[1:], info.cross_entropy[1:], color=INK)
    axes.set_ylim(*CROSS_ENTROPY_LIMITS)
    axes.set_title("cross-entropy", fontsize="medium")
    axes.set_ylabel("−log y")


def _add_time_scale(panels: Any, info: LossFunctionsInfo) -> None:
    matplotlib = require("matplotlib")
    norm = matplotlib.colors.Normalize(0, info.last_time or 1)
    scale = matplotlib.cm.ScalarMappable(norm, _colours())
    bar = panels[0].figure.colorbar(scale, ax=panels.tolist(), label=info.time_name, aspect=30)
    bar.locator = matplotlib.ticker.MaxNLocator(integer=True)  # there is no quarter of an epoch


def _colours() -> Any:
    """Return the colours from 0, the earliest, to 1, the latest."""
    matplotlib = require("matplotlib")
    viridis = matplotlib.colormaps["viridis"](np.linspace(0, LATE, 256))
    return matplotlib.colors.ListedColormap(viridis)
