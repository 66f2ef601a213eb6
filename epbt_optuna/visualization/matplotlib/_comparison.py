"""`plot_comparison` in matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from epbt_optuna.visualization._figure_data.comparison import (
    ComparisonInfo,
    ComparisonLine,
    ErrorKind,
    Run,
    comparison_info,
)
from epbt_optuna.visualization._imports import require
from epbt_optuna.visualization._style import CATEGORIES, DASHES, GREY
from epbt_optuna.visualization.matplotlib._figure import LINE_STYLES, make_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["plot_comparison"]


def plot_comparison(
    runs: Mapping[str, Sequence[Run]],
    *,
    error: ErrorKind = "se",
    value_name: str = "test accuracy",
    epoch_name: str = "epochs of training",
    zoom_from: float | None = None,
    figure: Figure | SubFigure | None = None,
) -> Any:
    """Plot the mean of repeated runs over epochs, with error bands (figures 2 to 4).

    Args:
        runs: As for `epbt_optuna.visualization.plot_comparison`, like the next four.
        error: As there.
        value_name: As there.
        epoch_name: As there.
        zoom_from: As there.
        figure: Where to draw. Default: a new figure of pyplot's.

    Returns:
        An array of two `matplotlib.axes.Axes`: zoomed, and whole.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: As there.
        ValueError: As there.
    """
    info = comparison_info(runs, error, zoom_from)
    panels = make_axes(figure, 2, size=(9, 7))[:, 0]
    for axes in panels:
        for index, line in enumerate(info.lines):
            _draw(axes, line, index)
        axes.set_ylabel(value_name)
    _zoom(panels[0], panels[1], info)
    panels[1].set_xlabel(epoch_name)
    panels[0].set_title(f"Mean over n runs ± {info.error_name} (band)", loc="left", pad=12)
    panels[0].legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
    return panels


def _draw(axes: Axes, line: ComparisonLine, index: int) -> None:
    colour = CATEGORIES[index % len(CATEGORIES)]
    style = LINE_STYLES[DASHES[index // len(CATEGORIES) % len(DASHES)]]
    means, errors = np.array(line.means), np.array(line.errors)
    low, high = means - errors, means + errors
    axes.fill_between(line.epochs, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(
        line.epochs,
        line.means,
        color=colour,
        linestyle=style,
        marker="" if len(line.epochs) > 1 else "o",
        label=f"{line.name} (n = {line.n_runs})",
    )


def _zoom(zoomed: Axes, whole: Axes, info: ComparisonInfo) -> None:
    """Let the upper panel show the last epochs, and frame in the lower one what it shows."""
    (left, right), (low, high) = info.zoom_epochs, info.zoom_values
    margin = 0.02 * (right - left) or 0.5
    zoomed.set_xlim(left - margin, right + margin)
    zoomed.set_ylim(low, high)
    patches = require("matplotlib.patches")
    frame = patches.Rectangle((left, low), right - left, high - low, fill=False, edgecolor=GREY)
    whole.add_patch(frame)
