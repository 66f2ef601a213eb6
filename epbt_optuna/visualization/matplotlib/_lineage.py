"""`plot_lineage` in matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna import Study

from epbt_optuna.visualization._figure_data.lineage import (
    ColorBy,
    LineageInfo,
    check_color_by,
    lineage_info,
)
from epbt_optuna.visualization._figure_data.lineage_nodes import LineageNode
from epbt_optuna.visualization._imports import require
from epbt_optuna.visualization._style import BEST, FAINT, GREY, INK, STATE_COLOURS
from epbt_optuna.visualization.matplotlib._figure import literal, make_axes, set_generation_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["plot_lineage"]

_LEGEND_SIZE = 6.0  # points
_SYMBOLS = {"pruned": "x", "failed": "+", "unfinished": "o"}


def plot_lineage(
    study: Study, *, color_by: ColorBy = "fitness", figure: Figure | SubFigure | None = None
) -> Axes:
    """Plot who inherited weights from whom: every trial, generations from left to right.

    What is where, and in which colour, `epbt_optuna.visualization.plot_lineage` says. Of more than
    150 trials, lines from mates are left out.

    Args:
        study: A study that a sampler of ours has bred in; its trials may be in any state.
        color_by: As there.
        figure: Where to draw. Default: a new figure of pyplot's.

    Returns:
        The axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: As there.
    """
    check_color_by(color_by)
    info = lineage_info(study)
    height = min(10.0, max(4.5, 2.6 + 0.15 * info.n_rows))
    axes: Axes = make_axes(figure, size=(12, height))[0, 0]
    # In points: the plot is 7/9 of the picture.
    size = info.size(_LEGEND_SIZE, width=560, height=62 * height)
    best_colour = INK if color_by == "founder" else BEST
    if color_by == "founder":
        _draw_clades(axes, info, size)
    else:
        _draw_lines(axes, info, size)
    line = {"linewidth": 2.5}
    _draw_paths(axes, 4, "ancestry of the best", [info.best_ancestry], best_colour, **line)
    _draw_others(axes, info, size)
    if color_by == "fitness":
        _draw_evaluated(axes, info, size)
    if info.best is not None:
        _draw_best(axes, info.best, best_colour)
    axes.set_title(literal(info.title), loc="left")
    set_generation_axis(axes, info.n_generations)
    axes.set_ylabel("individuals, relatives side by side")
    axes.set_ylim(info.n_rows - 0.3, -0.7)
    axes.set_yticks([])
    legend: Any = axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
    for handle in legend.legend_handles:  # the colours of small points would not be seen there
        if hasattr(handle, "set_sizes"):
            handle.set_sizes([_LEGEND_SIZE**2])
        elif handle.get_marker() not in ("None", "*"):
            handle.set_markersize(_LEGEND_SIZE)
    return axes


def _draw_lines(axes: Axes, info: LineageInfo, size: float) -> None:
    mates = {"linestyle": ":", "alpha": 0.7}, {"linestyle": "--", "alpha": 0.5}
    if info.shows_mates:
        _draw_paths(axes, 0, "crossover, from the mate", info.crossover, GREY, **mates[0])
        name = "crossover and weights, from the mate"
        _draw_paths(axes, 1, name, info.averaging, INK, **mates[1])
    _draw_paths(axes, 2, "weights, from the parent", info.inheritance, INK, alpha=0.45)
    _draw_paths(axes, 3, "survives as an elite", info.survival, FAINT, linewidth=0.5 * size)


def _draw_paths(
    axes: Axes, order: int, name: str | None, paths: Any, colour: str, **style: Any
) -> None:
    if any(paths):
        style = {"linewidth": 0.8, "color": colour, "zorder": 2 + 0.1 * order, **style}
        collections = require("matplotlib.collections")
        axes.add_collection(collections.LineCollection(paths, label=name, **style))


def _draw_nodes(axes: Axes, order: int, name: str, nodes: list[LineageNode], **style: Any) -> None:
    generations, rows = [node.generation for node in nodes], [node.row for node in nodes]
    axes.plot(generations, rows, linestyle="", zorder=order, label=name, **style)


def _draw_clades(axes: Axes, info: LineageInfo, size: float) -> None:
    """Draw each founder's descendants, and the lines between them, in its colour."""
    for clade in info.clades:
        _draw_paths(axes, 2, None, clade.inheritance, clade.colour, alpha=0.7)
        _draw_paths(axes, 3, None, clade.survival, clade.colour, alpha=0.5, linewidth=0.5 * size)
        nodes = [node for node in clade.nodes if node.state == "complete"]
        edge = {"markeredgecolor": INK, "markeredgewidth": _edge_width(size)}
        style = {"marker": "o", "markersize": size, "markerfacecolor": clade.colour, **edge}
        _draw_nodes(axes, 4, clade.name, nodes, **style)


def _draw_best(axes: Axes, best: LineageNode, colour: str) -> None:
    edge = {"markeredgecolor": "white" if colour == INK else INK, "markeredgewidth": 0.8}
    style = {"marker": "*", "markersize": 15, "markerfacecolor": colour, **edge}
    _draw_nodes(axes, 5, "best trial", [best], **style)


def _draw_others(axes: Axes, info: LineageInfo, size: float) -> None:
    for state, symbol in _SYMBOLS.items():
        nodes = [node for node in info.nodes if node.state == state]
        if nodes:
            edge = {"markeredgecolor": STATE_COLOURS[state], "markeredgewidth": 1.2}
            style = {"marker": symbol, "markersize": 0.9 * size, "markerfacecolor": "none", **edge}
            _draw_nodes(axes, 3, f"{state} ({len(nodes)})", nodes, **style)


def _draw_evaluated(axes: Axes, info: LineageInfo, size: float) -> None:
    """Draw the evaluated in the colours of their fitness, with the scale beside them."""
    nodes = [node for node in info.nodes if node.state == "complete"]
    if not nodes:
        return
    low, high = info.colour_range
    drawn = axes.scatter(
        [node.generation for node in nodes],
        [node.row for node in nodes],
        c=[info.shown_value(node) for node in nodes],
        s=[_area(node, size) for node in nodes],
        cmap="viridis" if info.maximize else "viridis_r",
        vmin=low,
        vmax=high,
        edgecolors=INK,
        linewidths=_edge_width(size),
        zorder=4,
        label=f"complete ({len(nodes)})",
    )
    beside = axes.inset_axes((1.03, 0, 0.015, 0.4))  # below the legend
    bar = axes.figure.colorbar(drawn, cax=beside, label="fitness (value)")
    bar.set_ticks(list(info.colour_ticks), labels=list(info.colour_ticks.values()))


def _area(node: LineageNode, size: float) -> float:
    return (1.25 * size if node.in_best_ancestry else size) ** 2


def _edge_width(size: float) -> float:
    return 0.4 if size > 4 else 0.2
