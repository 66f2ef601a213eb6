"""`plot_lineage` in matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna import Study

from epbt_optuna.visualization._figure_data.lineage import LineageInfo, lineage_info
from epbt_optuna.visualization._imports import require
from epbt_optuna.visualization._style import BEST, FAINT, GREY, INK, STATE_COLOURS
from epbt_optuna.visualization.matplotlib._figure import literal, make_axes, set_generation_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["plot_lineage"]

_SYMBOLS = {"pruned": "x", "failed": "+", "unfinished": "o"}


def plot_lineage(study: Study, *, figure: Figure | SubFigure | None = None) -> Axes:
    """Plot who inherited weights from whom: every trial, generations from left to right.

    What is where, and in which colour, `epbt_optuna.visualization.plot_lineage` says.

    Args:
        study: A study that a sampler of ours has bred in; its trials may be in any state.
        figure: Where to draw. Default: a new figure of pyplot's.

    Returns:
        The axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: The study is empty, or no sampler of ours has asked a trial in it.
    """
    info = lineage_info(study)
    height = min(9.0, max(4.5, 2.6 + 0.15 * info.n_rows))
    axes: Axes = make_axes(figure, size=(12, height))[0, 0]
    _draw_lines(axes, info)
    _draw_nodes(axes, info)
    axes.set_title(literal(info.title), loc="left")
    set_generation_axis(axes, info.n_generations)
    axes.set_ylabel("individual: a row each")
    axes.set_ylim(info.n_rows - 0.3, -0.7)
    axes.set_yticks([])
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
    return axes


def _draw_lines(axes: Axes, info: LineageInfo) -> None:
    lines: list[tuple[str, Any, dict[str, Any]]] = [
        (
            "crossover, from the mate",
            info.crossover,
            {"color": GREY, "alpha": 0.4, "linestyle": ":"},
        ),
        (
            "crossover and weights, from the mate",
            info.averaging,
            {"color": INK, "alpha": 0.5, "linestyle": "--"},
        ),
        ("weights, from the parent", info.inheritance, {"color": INK, "alpha": 0.45}),
        ("survives as an elite", info.survival, {"color": FAINT, "linewidth": 3}),
        ("ancestry of the best", [info.best_ancestry], {"color": BEST, "linewidth": 3}),
    ]
    collections = require("matplotlib.collections")
    for order, (name, paths, style) in enumerate(lines):
        if any(paths):
            style = {"linewidth": 0.8, "zorder": 2 + 0.1 * order, **style}
            axes.add_collection(collections.LineCollection(paths, label=name, **style))


def _draw_nodes(axes: Axes, info: LineageInfo) -> None:
    for state, symbol in _SYMBOLS.items():
        nodes = [node for node in info.nodes if node.state == state]
        if nodes:
            axes.plot(
                [node.generation for node in nodes],
                [node.row for node in nodes],
                linestyle="",
                marker=symbol,
                markersize=5,
                markerfacecolor="none",
                markeredgecolor=STATE_COLOURS[state],
                markeredgewidth=1.2,
                zorder=3,
                label=f"{state} ({len(nodes)})",
            )
    _draw_evaluated(axes, info)
    if info.best is not None:
        axes.plot(
            [info.best.generation],
            [info.best.row],
            linestyle="",
            marker="*",
            markersize=15,
            markerfacecolor=BEST,
            markeredgecolor=INK,
            markeredgewidth=0.8,
            zorder=5,
            label="best trial",
        )


def _draw_evaluated(axes: Axes, info: LineageInfo) -> None:
    """Draw the evaluated in the colours of their fitness, with the scale beside them."""
    nodes = [node for node in info.nodes if node.state == "complete"]
    if not nodes:
        return
    low, high = info.colour_range
    drawn = axes.scatter(
        [node.generation for node in nodes],
        [node.row for node in nodes],
        c=[info.shown_value(node) for node in nodes],
        s=[55 if node.in_best_ancestry else 34 for node in nodes],
        cmap="viridis" if info.maximize else "viridis_r",
        vmin=low,
        vmax=high,
        edgecolors=INK,
        linewidths=0.4,
        zorder=4,
        label=f"complete ({len(nodes)})",
    )
    beside = axes.inset_axes((1.03, 0, 0.015, 0.4))  # below the legend
    bar = axes.figure.colorbar(drawn, cax=beside, label="fitness (value)")
    bar.set_ticks(list(info.colour_ticks), labels=list(info.colour_ticks.values()))
