"""`plot_schedule` in plotly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from epbt_optuna.visualization._figure_data.schedule import (
    ScheduleCurve,
    ScheduleInfo,
    ScheduleSource,
    schedule_info,
)
from epbt_optuna.visualization._imports import require
from epbt_optuna.visualization._plotly._figure import finish, literal
from epbt_optuna.visualization._style import BLUE, grid_shape, short

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["plot_schedule"]


def plot_schedule(source: ScheduleSource, *, params: Sequence[str] | None = None) -> go.Figure:
    """Plot each hyperparameter along the ancestry of the best trial.

    A panel for each, over its whole range; the axis of a logarithmic variable is logarithmic,
    and a category moves between levels. A dot marks where each trial of the ancestry began. Where a
    trial does not have a variable, its line has a gap.

    Args:
        source: A study that a sampler of ours has bred in, or a
            `Schedule`, of any trial, for example one loaded from a file.
        params: Names of the hyperparameters to show, in this order. Default: all, by name.

    Returns:
        The figure. Its axis is the steps at which the objective reported: `trial.report(value,
            step)`. They are added up where they begin anew in each trial, and called epochs where
            each report is one step. Where nothing was reported, it counts trials.

    Raises:
        ImportError: plotly is not installed.
        TypeError: `source` is neither a study nor a schedule.
        ValueError: `params` names one that is not there, there are none, or the study is empty,
            is not ours, or has no best trial.
    """
    return _figure(schedule_info(source, params))


def _figure(info: ScheduleInfo) -> go.Figure:
    n_rows, n_columns = grid_shape(len(info.curves))
    figure = require("plotly.subplots").make_subplots(
        rows=n_rows,
        cols=n_columns,
        subplot_titles=[literal(short(curve.name)) for curve in info.curves],
        horizontal_spacing=0.24 / (n_columns + 1),
        vertical_spacing=0.32 / (n_rows + 1),
    )
    for index, curve in enumerate(info.curves):
        row, column = divmod(index, n_columns)
        place = {"row": row + 1, "col": column + 1}
        figure.add_scatter(**_trace(info, curve), **place)
        figure.update_xaxes(range=info.time_limits, **place)
        figure.update_yaxes(**_axis(curve), **place)
        if index + n_columns >= len(info.curves):
            figure.update_xaxes(title=info.time_name, **place)
    return finish(
        figure,
        info.title,
        width=max(520, 300 * n_columns),
        height=140 + 220 * n_rows,
        showlegend=False,
    )


def _trace(info: ScheduleInfo, curve: ScheduleCurve) -> dict[str, Any]:
    times, values = zip(*info.line(curve), strict=True)
    return {
        "x": times,
        "y": values,
        "name": literal(short(curve.name)),
        "mode": "lines+markers",
        "line": {"color": BLUE, "width": 2},
        # A dot where each step begins, none where it ends.
        "marker": {"size": [5, 0] * (len(times) // 2), "opacity": 1, "line": {"width": 0}},
    }


def _axis(curve: ScheduleCurve) -> dict[str, Any]:
    if curve.categories is not None:
        names = [literal(category) for category in curve.categories]
        return {"range": curve.limits, "tickvals": list(range(len(names))), "ticktext": names}
    if not curve.is_log:
        return {"range": curve.limits}
    limits = [math.log10(limit) for limit in curve.limits]
    # With more ticks, plotly would number every digit of a decade; by itself it leaves out zeros.
    return {"type": "log", "range": limits, "nticks": 3, "tickformat": "~g"}
