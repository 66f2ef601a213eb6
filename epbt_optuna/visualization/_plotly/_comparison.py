"""`plot_comparison` in plotly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from epbt_optuna.visualization._figure_data.comparison import (
    ComparisonInfo,
    ComparisonLine,
    ErrorKind,
    Run,
    comparison_info,
)
from epbt_optuna.visualization._imports import require
from epbt_optuna.visualization._plotly._figure import finish, with_alpha
from epbt_optuna.visualization._style import CATEGORIES, DASHES, GREY

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["plot_comparison"]


def plot_comparison(
    runs: Mapping[str, Sequence[Run]],
    *,
    error: ErrorKind = "se",
    value_name: str = "test accuracy",
    epoch_name: str = "epochs of training",
    zoom_from: float | None = None,
) -> go.Figure:
    """Plot the mean of repeated runs over epochs, with error bands (figures 2 to 4).

    The upper panel shows the later epochs of the lower one, which shows everything.

    Args:
        runs: Name → its repetitions, one for each seed. A repetition is a sequence of
            (epoch, value) pairs, such as the test accuracies of one run, or a study: then the
            values are the best fitness in the population after each generation, against the
            epochs that a network trained from the start would have seen by then (one for each
            report; use pairs where a report is something else). Repetitions are compared at the
            epochs that all of them have.
        error: What the bands show around the mean: `"se"`, the standard error, as in the paper's
            figures, or `"sd"`, the standard deviation. A single repetition has no band.
        value_name: Name of the values, with their unit if they have one.
        epoch_name: Name of the epochs.
        zoom_from: The epoch at which the upper panel begins. Default: half of the epochs.

    Returns:
        The figure.

    Raises:
        ImportError: plotly is not installed.
        TypeError: `zoom_from` is not a number.
        ValueError: There are no runs, a run is empty, holds NaN or infinity, or shares no epoch
            with the others of its name, a study has no generation with a fitness or none of its
            trials reported, `error` is unknown, or `zoom_from` is beyond the last epoch.
    """
    info = comparison_info(runs, error, zoom_from)
    return _figure(info, value_name, epoch_name)


def _figure(info: ComparisonInfo, value_name: str, epoch_name: str) -> go.Figure:
    figure = require("plotly.subplots").make_subplots(rows=2, cols=1, vertical_spacing=0.12)
    for index, line in enumerate(info.lines):
        for row in (1, 2):
            figure.add_traces(_traces(line, index, is_in_legend=row == 1), rows=row, cols=1)
    (left, right), (low, high) = info.zoom_epochs, info.zoom_values
    margin = 0.02 * (right - left) or 0.5
    figure.update_xaxes(range=[left - margin, right + margin], row=1, col=1)
    figure.update_yaxes(range=[low, high], row=1, col=1)
    zoomed = {"x0": left, "x1": right, "y0": low, "y1": high}
    figure.add_shape(row=2, col=1, line={"color": GREY, "width": 1}, **zoomed)
    figure.update_xaxes(title=epoch_name, row=2, col=1)
    figure.update_yaxes(title=value_name, title_standoff=8)
    title = f"Mean over n runs ± {info.error_name} (band)"
    return finish(figure, title, width=900, height=720)


def _traces(line: ComparisonLine, index: int, *, is_in_legend: bool) -> list[go.Scatter]:
    go = require("plotly.graph_objects")
    colour = CATEGORIES[index % len(CATEGORIES)]
    dash = DASHES[index // len(CATEGORIES) % len(DASHES)]
    bounds = [
        [mean + sign * error for mean, error in zip(line.means, line.errors, strict=True)]
        for sign in (1, -1)
    ]
    band = go.Scatter(
        x=line.epochs + line.epochs[::-1],
        y=bounds[0] + bounds[1][::-1],
        fill="toself",
        fillcolor=with_alpha(colour, 0.2),
        line={"width": 0},
        mode="lines",
        legendgroup=str(index),
        showlegend=False,
        hoverinfo="skip",
    )
    means = go.Scatter(
        x=line.epochs,
        y=line.means,
        mode="lines" if len(line.epochs) > 1 else "markers",
        line={"color": colour, "dash": dash, "width": 2},
        marker={"color": colour},
        customdata=line.errors,
        hovertemplate="%{x}: %{y:.4g} ± %{customdata:.2g}",
        name=f"{line.name} (n = {line.n_runs})",
        legendgroup=str(index),
        showlegend=is_in_legend,
    )
    return [band, means]
