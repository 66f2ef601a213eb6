"""The paper's figures: accuracy over epochs (2–4) and the ancestries of losses (5), as SVG.

The same results make the same bytes: no date, and identifiers from a fixed salt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from examples.paper.results import Result
from examples.paper.shapes import two_class_loss
from examples.paper.statistics import summarise

# Okabe and Ito (2008): colour-blind readers can tell them apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")

WIDTH = 4.6
"""Inches of 72 points: so that text of 8 points is read on a phone without zooming."""

STYLE: Any = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "epbt_optuna",
}


def draw_accuracies(arms: Mapping[str, Sequence[Result]], path: Path) -> None:
    """Draw mean test accuracy over epochs with standard errors, zoomed in and whole.

    Args:
        arms: Results by the name in the legend.
        path: The SVG to write.
    """
    curves = {name: mean_curve(results) for name, results in arms.items()}
    last = max(epochs[-1] for epochs, _, _ in curves.values())
    middle = (min(epochs[0] for epochs, _, _ in curves.values()) + last) / 2
    with mpl.rc_context({**STYLE, "font.size": 8}):
        figure = Figure(figsize=(WIDTH, 6.4))
        panels = zoomed, whole = figure.subplots(2, 1)
        for axes in panels:
            for index, (name, (epochs, means, errors)) in enumerate(curves.items()):
                colour = COLOURS[index % len(COLOURS)]
                low, high = means - errors, means + errors
                axes.fill_between(epochs, low, high, color=colour, alpha=0.2, linewidth=0)
                label = f"{name} (n = {len(arms[name])})"
                axes.plot(epochs, means, color=colour, label=label)
            axes.tick_params(colors="#222222")
            axes.grid(color="#E8E8E8", linewidth=0.8)
            axes.set_axisbelow(True)
            axes.set_ylabel("test accuracy, %")
        low, high = range_of_values(curves.values(), middle)
        margin = 0.02 * (last - middle)
        zoomed.set_xlim(middle - margin, last + margin)
        zoomed.set_ylim(low, high)
        figure.suptitle("Mean over n runs ± standard error (band)", fontsize=8)
        zoomed.legend(frameon=False, loc="lower left", bbox_to_anchor=(-0.15, 1.02), ncols=2)
        frame = Rectangle((middle, low), last - middle, high - low, fill=False, edgecolor="#7F7F7F")
        whole.add_patch(frame)
        whole.set_xlabel("epochs of training")
        save(figure, path)


def range_of_values(curves: Iterable[tuple[Any, Any, Any]], first: float) -> tuple[float, float]:
    """Return the range of means and errors from an epoch on, with 5 % on both sides."""
    bounds = [
        (means + sign * errors)[epochs >= first]
        for epochs, means, errors in curves
        for sign in (-1, 1)
    ]
    low, high = np.min(np.concatenate(bounds)), np.max(np.concatenate(bounds))
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def mean_curve(results: Sequence[Result]) -> tuple[Any, Any, Any]:
    """Return epochs, mean test accuracies in % and their standard errors."""
    epochs = np.array([point.epoch for point in results[0].outcome.curve])
    tests = np.array([[100 * point.test for point in r.outcome.curve] for r in results])
    summaries = [summarise(column.tolist()) for column in tests.T]
    errors = np.nan_to_num([summary.se for summary in summaries])
    return epochs, np.array([summary.mean for summary in summaries]), errors


def draw_ancestries(results: Sequence[Result], path: Path) -> None:
    """Draw the losses along each best ancestry, early ones dark, beside cross-entropy.

    Every loss is shifted to 0 at its least and scaled to 1 at its greatest: only shape counts.
    """
    y = np.linspace(0.005, 1, 200)
    with mpl.rc_context(STYLE):
        n_panels = len(results) + 1
        figure = Figure(figsize=(WIDTH, 1.5 * -(-n_panels // 3)))
        panels = figure.subplots(-(-n_panels // 3), 3, sharex=True, sharey=True, squeeze=False)
        for axes, result in zip(panels.flat, results, strict=False):
            ancestors = result.outcome.ancestry
            last = max(ancestor["epochs"] for ancestor in ancestors)
            for ancestor in ancestors:
                shade = mpl.colormaps["viridis"](0.95 * ancestor["epochs"] / last)
                axes.plot(y, unit_range(two_class_loss(ancestor["params"])(y)), color=shade, lw=1)
            axes.set_title(f"seed {result.seed}", fontsize=9)
        panels.flat[n_panels - 1].plot(y, unit_range(-np.log(y)), color="black", lw=1)
        panels.flat[n_panels - 1].set_title("cross-entropy", fontsize=9)
        for axes in panels.flat[n_panels:]:
            axes.set_visible(False)
        figure.supxlabel("y, the true class's probability", fontsize=9)
        figure.supylabel("loss, scaled", fontsize=9)
        save(figure, path)


def unit_range(losses: Any) -> Any:
    low, high = losses.min(), losses.max()
    return (losses - low) / max(high - low, 1e-12)


def save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
