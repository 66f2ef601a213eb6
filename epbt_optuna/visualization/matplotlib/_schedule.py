"""`plot_schedule` in matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from epbt_optuna.visualization._figure_data.schedule import (
    ScheduleCurve,
    ScheduleInfo,
    ScheduleSource,
    schedule_info,
)
from epbt_optuna.visualization._imports import require
from epbt_optuna.visualization._style import BLUE, grid_shape, short
from epbt_optuna.visualization.matplotlib._figure import hide_from, literal, make_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["plot_schedule"]


def plot_schedule(
    source: ScheduleSource,
    *,
    params: Sequence[str] | None = None,
    figure: Figure | SubFigure | None = None,
) -> Any:
    """Plot each hyperparameter along the ancestry of the best trial.

    What is in a panel, `epbt_optuna.visualization.plot_schedule` says.

    Args:
        source: As there.
        params: As there.
        figure: Where to draw. Default: a new figure of pyplot's.

    Returns:
        An array of `matplotlib.axes.Axes`, shape (hyperparameters,).

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: As there.
        ValueError: As there.
    """
    info = schedule_info(source, params)
    n_rows, n_columns = grid_shape(len(info.curves))
    size = (max(5.0, 3.0 * n_columns), 0.8 + 2.2 * n_rows)
    panels = make_axes(figure, n_rows, n_columns, size=size).ravel()
    for index, curve in enumerate(info.curves):
        _draw(panels[index], info, curve)
        if index + n_columns >= len(info.curves):
            panels[index].set_xlabel(info.time_name)
    hide_from(panels, len(info.curves))
    panels[0].figure.suptitle(literal(info.title))
    return panels[: len(info.curves)]


def _draw(axes: Axes, info: ScheduleInfo, curve: ScheduleCurve) -> None:
    times, values = np.array(info.line(curve), dtype=float).T
    axes.plot(times, values, color=BLUE)
    axes.plot(times[::2], values[::2], "o", markersize=3, color=BLUE)
    axes.set_title(literal(short(curve.name)), fontsize="medium")
    if curve.is_log:
        axes.set_yscale("log")
        axes.minorticks_off()
        digits = (1,) if curve.limits[1] >= 100 * curve.limits[0] else (1, 2, 5)
        axes.yaxis.set_major_locator(require("matplotlib.ticker").LogLocator(subs=digits))
        axes.yaxis.set_major_formatter("{x:g}")
    if curve.categories is not None:
        axes.set_yticks(range(len(curve.categories)), labels=[*map(literal, curve.categories)])
    axes.set_xlim(*info.time_limits)
    axes.locator_params(axis="x", integer=True)
    axes.set_ylim(*curve.limits)
