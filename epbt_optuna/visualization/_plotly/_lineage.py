"""`plot_lineage` in plotly."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from optuna import Study

from epbt_optuna.visualization._figure_data.lineage import (
    Clade,
    ColorBy,
    LineageInfo,
    check_color_by,
    lineage_info,
)
from epbt_optuna.visualization._figure_data.lineage_nodes import LineageNode, Place
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

_WIDTH = 1150
_SMALL = 6.0  # pixels
_MAX_PARAMS_SHOWN = 16
_MATES = "crossover, from the mate"
_AVERAGED = "crossover and weights, from the mate"
_SYMBOLS = {"pruned": "x-thin-open", "failed": "cross-thin-open", "unfinished": "circle-open"}


def plot_lineage(study: Study, *, color_by: ColorBy = "fitness") -> go.Figure:
    """Plot who inherited weights from whom: every trial, generations from left to right.

    The picture is a tree, or one for each founder. An individual keeps its row for life: an elite
    is a level line through the generations that it survives, with a point for each in which it
    goes on training. Relatives are side by side, so lines of inheritance do not cross (but where
    workers wait for nobody), and whose descendants take over is seen. In the middle is the founder
    whose weights the best trial has; founders whose descendants die out first are on the top and
    on the bottom.

    The colour is the fitness, light for the fittest in both directions of a study; a few
    individuals that are much less fit than all others share the darkest. The line of weights that
    leads to the best trial stands out, and crossover (from the mate) is dotted, or dashed where
    the mate gave weights, too. Of more than 150 trials, lines from mates are hidden at first.
    Click on the legend to hide or show a kind of line; hover over a trial for its value, its
    params and its parents.

    Args:
        study: A study that a sampler of ours has bred in; its trials may be in any state.
        color_by: `"fitness"`, or `"founder"`: the founders with most descendants have colours of
            their own, all others are grey, and lines from mates are left out.

    Returns:
        The figure. It is readable for a few trials and for some thousands.

    Raises:
        ImportError: plotly is not installed.
        ValueError: `color_by` is neither, the study is empty, or no sampler of ours has asked a
            trial in it.
    """
    check_color_by(color_by)
    return _figure(lineage_info(study), color_by)


def _figure(info: LineageInfo, color_by: ColorBy) -> go.Figure:
    figure = require("plotly.graph_objects").Figure()
    height = min(1000, max(520, 260 + 15 * info.n_rows))
    size = info.size(9, width=_WIDTH - 280, height=height - 130)  # what is beside the plot
    by_founder = color_by == "founder"
    if by_founder:
        for clade in info.clades:
            _add_clade(figure, clade, size)
    else:
        _add_lines(figure, info, size)
    best_colour = INK if by_founder else BEST
    if info.best_ancestry:
        line = {"color": best_colour, "width": 3}
        figure.add_trace(_lines("ancestry of the best", [info.best_ancestry], 1, line))
    for state, symbol in _SYMBOLS.items():
        marker = {"symbol": symbol, "size": 0.9 * size, "color": STATE_COLOURS[state]}
        outline = {"width": 1.5, "color": STATE_COLOURS[state]}
        _add_state(figure, info, state, marker={**marker, "line": outline})
    if not by_founder:
        _add_state(figure, info, "complete", marker=_coloured(info, size))
    if info.best is not None:
        _add_best(figure, info.best, best_colour)
    figure.update_xaxes(title="generation", **generation_axis(info.n_generations))
    title = "individuals, relatives side by side"
    figure.update_yaxes(title=title, range=[info.n_rows - 0.3, -0.7], **BLANK)
    # The colours of small points would not be seen in the legend.
    legend = {"itemsizing": "constant" if size < _SMALL else "trace"}
    shape = {"width": _WIDTH, "height": height}
    return finish(figure, info.title, hovermode="closest", legend=legend, **shape)


def _add_lines(figure: go.Figure, info: LineageInfo, size: float) -> None:
    lines: list[tuple[str, list[list[Place]], float, dict[str, Any]]] = [
        (_MATES, info.crossover, 0.35, {"color": GREY, "dash": "dot"}),
        (_AVERAGED, info.averaging, 0.5, {"color": INK, "dash": "dash"}),
        ("weights, from the parent", info.inheritance, 0.4, {"color": INK}),
        ("survives as an elite", info.survival, 1, {"color": FAINT, "width": 0.5 * size}),
    ]
    for name, paths, opacity, style in lines:
        if any(paths):
            is_shown = info.shows_mates or name not in (_MATES, _AVERAGED)
            figure.add_trace(
                _lines(name, paths, opacity, {"width": 1, **style}).update(
                    visible=True if is_shown else "legendonly"
                )
            )


def _add_clade(figure: go.Figure, clade: Clade, size: float) -> None:
    """Draw a founder's descendants and the lines between them: one item of the legend."""
    together = {"legendgroup": clade.name, "showlegend": False}
    for paths, opacity, width in (
        (clade.inheritance, 0.7, 1),
        (clade.survival, 0.5, 0.5 * size),
    ):
        if paths:
            line = {"color": clade.colour, "width": width}
            figure.add_trace(_lines(clade.name, paths, opacity, line).update(together))
    marker = {"color": clade.colour, "size": size, "opacity": 1, "line": _outline(size)}
    nodes = [node for node in clade.nodes if node.state == "complete"]
    _add_nodes(figure, clade.name, nodes, marker=marker, legendgroup=clade.name)


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


def _add_state(figure: go.Figure, info: LineageInfo, state: str, **style: Any) -> None:
    nodes = [node for node in info.nodes if node.state == state]
    if nodes:
        _add_nodes(figure, f"{state} ({len(nodes)})", nodes, **style)


def _add_nodes(figure: go.Figure, name: str, nodes: list[LineageNode], **style: Any) -> None:
    figure.add_scatter(
        x=[node.generation for node in nodes],
        y=[node.row for node in nodes],
        mode="markers",
        name=name,
        text=[_hover_text(node) for node in nodes],
        hovertemplate="%{text}<extra></extra>",
        **style,
    )


def _outline(size: float) -> dict[str, Any]:
    return {"width": 0.6 if size > 6 else 0.3, "color": INK}


def _coloured(info: LineageInfo, size: float) -> dict[str, Any]:
    """Return the markers of the evaluated: viridis, light for the fittest, with its scale."""
    low, high = info.colour_range
    ticks = info.colour_ticks
    return {
        "color": [info.shown_value(node) for node in info.nodes if node.state == "complete"],
        "cmin": low,
        "cmax": high,
        "colorscale": "Viridis",
        "reversescale": not info.maximize,
        "size": [
            1.25 * size if node.in_best_ancestry else size
            for node in info.nodes
            if node.state == "complete"
        ],
        "opacity": 1,
        "line": _outline(size),
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


def _add_best(figure: go.Figure, best: LineageNode, colour: str) -> None:
    edge = {"width": 1, "color": "white" if colour == INK else INK}
    marker = {"symbol": "star", "size": 18, "color": colour, "line": edge}
    _add_nodes(figure, "best trial", [best], marker=marker)


def _hover_text(node: LineageNode) -> str:
    lines = [
        f"<b>trial {node.number}</b>, generation {node.generation}, {node.state}",
        f"value: {number_text(node.value)}",
        f"parent: {_name(node.parent)}, mate: {_name(node.mate)}{_share_text(node)}",
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


def _share_text(node: LineageNode) -> str:
    return f" ({node.mate_weight:.3g} of the weights)" if node.mate_weight else ""


def _param_text(value: Any) -> str:
    return number_text(value) if isinstance(value, float) else short(value)
