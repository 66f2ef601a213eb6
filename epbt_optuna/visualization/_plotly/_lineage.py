"""`plot_lineage` in plotly."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from optuna import Study

from epbt_optuna.visualization._figure_data.lineage import (
    LineageInfo,
    LineageNode,
    Place,
    lineage_info,
)
from epbt_optuna.visualization._imports import require
from epbt_optuna.visualization._plotly._figure import BLANK, finish, generation_axis, literal
from epbt_optuna.visualization._style import (
    BEST,
    FAINT,
    GREY,
    INK,
    STATE_COLOURS,
    number_text,
    short,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["plot_lineage"]

_MAX_PARAMS_SHOWN = 16
_SYMBOLS = {"pruned": "x-thin-open", "failed": "cross-thin-open", "unfinished": "circle-open"}


def plot_lineage(study: Study) -> go.Figure:
    """Plot who inherited weights from whom: every trial, generations from left to right.

    Every individual has a row. An elite keeps its row, as a level line through the generations
    that it survives, with a point for each in which it goes on training; offspring take the rows
    that have become free, in the order of their parents', so that lines of inheritance do not
    cross on the way into a generation. Founders are ordered by fitness, the fittest on top. The
    colour is the fitness, light for the fittest in both directions of a study; a few individuals
    that are much less fit than all others share the darkest. The line of weights that leads to
    the best trial stands out, and crossover (from the mate) is dotted. Click on the legend to
    hide a kind of line; hover over a trial for its value, its params and its parents.

    Args:
        study: A study that a sampler of ours has bred in; its trials may be in any state.

    Returns:
        The figure. It is drawn for 40 individuals and 25 generations, and readable for more.

    Raises:
        ImportError: plotly is not installed.
        ValueError: The study is empty, or no sampler of ours has asked a trial in it.
    """
    return _figure(lineage_info(study))


def _figure(info: LineageInfo) -> go.Figure:
    figure = require("plotly.graph_objects").Figure()
    lines: list[tuple[str, list[list[Place]], float, dict[str, Any]]] = [
        ("crossover, from the mate", info.crossover, 0.35, {"color": GREY, "dash": "dot"}),
        ("weights, from the parent", info.inheritance, 0.4, {"color": INK}),
        ("survives as an elite", info.survival, 1, {"color": FAINT, "width": 4}),
        ("ancestry of the best", [info.best_ancestry], 1, {"color": BEST, "width": 4}),
    ]
    for name, paths, opacity, style in lines:
        if any(paths):
            figure.add_trace(_lines(name, paths, opacity, {"width": 1, **style}))
    for state, symbol in _SYMBOLS.items():
        marker = {"symbol": symbol, "size": 7, "color": STATE_COLOURS[state]}
        line = {"width": 1.5, "color": STATE_COLOURS[state]}
        _add_nodes(figure, info, state, marker={**marker, "line": line})
    _add_nodes(figure, info, "complete", marker=_coloured(info))
    if info.best is not None:
        _add_best(figure, info.best)
    figure.update_xaxes(title="generation", **generation_axis(info.n_generations))
    figure.update_yaxes(title="individual: a row each", range=[info.n_rows - 0.3, -0.7], **BLANK)
    height = min(900, max(520, 260 + 15 * info.n_rows))
    return finish(figure, info.title, width=1150, height=height, hovermode="closest")


def _lines(
    name: str, paths: Iterable[list[Place]], opacity: float, line: dict[str, Any]
) -> go.Scatter:
    """Return one trace for all lines of a kind: None breaks it."""
    places = [place for path in paths for place in (*path, (None, None))]
    return require("plotly.graph_objects").Scatter(
        x=[generation for generation, _ in places],
        y=[row for _, row in places],
        mode="lines",
        line=line,
        opacity=opacity,
        name=name,
        hoverinfo="skip",
    )


def _add_nodes(figure: go.Figure, info: LineageInfo, state: str, **style: Any) -> None:
    nodes = [node for node in info.nodes if node.state == state]
    if nodes:
        figure.add_scatter(
            x=[node.generation for node in nodes],
            y=[node.row for node in nodes],
            mode="markers",
            name=f"{state} ({len(nodes)})",
            text=[_hover_text(node) for node in nodes],
            hovertemplate="%{text}<extra></extra>",
            **style,
        )


def _coloured(info: LineageInfo) -> dict[str, Any]:
    """Return the markers of the evaluated: viridis, light for the fittest, with its scale."""
    low, high = info.colour_range
    ticks = info.colour_ticks
    return {
        "color": [info.shown_value(node) for node in info.nodes if node.state == "complete"],
        "cmin": low,
        "cmax": high,
        "colorscale": "Viridis",
        "reversescale": not info.maximize,
        "size": [10 if n.in_best_ancestry else 8 for n in info.nodes if n.state == "complete"],
        "opacity": 1,
        "line": {"width": 0.6, "color": INK},
        "colorbar": {
            "title": {"text": "fitness<br>(value)"},
            "thickness": 14,
            "lenmode": "pixels",
            "len": 190,
            "y": 0,
            "yanchor": "bottom",
            "tickvals": list(ticks),
            "ticktext": list(ticks.values()),
        },
    }


def _add_best(figure: go.Figure, best: LineageNode) -> None:
    figure.add_scatter(
        x=[best.generation],
        y=[best.row],
        mode="markers",
        marker={"symbol": "star", "size": 18, "color": BEST, "line": {"width": 1, "color": INK}},
        name="best trial",
        text=[_hover_text(best)],
        hovertemplate="%{text}<extra></extra>",
    )


def _hover_text(node: LineageNode) -> str:
    lines = [
        f"<b>trial {node.number}</b>, generation {node.generation}, {node.state}",
        f"value: {number_text(node.value)}",
        f"parent: {_name(node.parent)}, mate: {_name(node.mate)}",
    ]
    if node.is_elite:
        lines.append("an elite that goes on training")
    if node.last_generation > node.generation:
        lines.append(f"elite until generation {node.last_generation}")
    params = list(node.params.items())
    lines += [
        f"{literal(short(name))}: {literal(_param_text(value))}"
        for name, value in params[:_MAX_PARAMS_SHOWN]
    ]
    if len(params) > _MAX_PARAMS_SHOWN:
        lines.append(f"and {len(params) - _MAX_PARAMS_SHOWN} more")
    return "<br>".join(lines)


def _name(number: int | None) -> str:
    return "none" if number is None else f"trial {number}"


def _param_text(value: Any) -> str:
    return number_text(value) if isinstance(value, float) else short(value)
