"""`plot_generations` in plotly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna import Study

from epbt_optuna.visualization._figure_data.generations import GenerationsInfo, generations_info
from epbt_optuna.visualization._imports import require
from epbt_optuna.visualization._plotly._figure import BLANK, finish, generation_axis
from epbt_optuna.visualization._style import COUNT_COLOURS, DIVERSITY, FITNESS_STYLES

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["plot_generations"]


def plot_generations(study: Study) -> go.Figure:
    """Plot how the generations did: fitness, diversity, and what became of their trials.

    Above, the best, median, mean and worst value of the population after each generation, elites
    included. In the middle, how much its genomes differ: 0 where all are the same. Below, how
    many trials of the generation completed, were pruned, failed, or have not ended yet.

    Args:
        study: A study that a sampler of ours has bred in; its trials may be in any state.

    Returns:
        The figure. A value that is not finite leaves a gap.

    Raises:
        ImportError: plotly is not installed.
        ValueError: The study is empty, or no sampler of ours has asked a trial in it.
    """
    return _figure(generations_info(study))


def _figure(info: GenerationsInfo) -> go.Figure:
    figure = require("plotly.subplots").make_subplots(
        rows=3, cols=1, shared_xaxes=True, row_heights=[0.56, 0.22, 0.22], vertical_spacing=0.04
    )
    generations = list(range(info.n_generations))
    mode = "lines+markers" if info.n_generations <= 40 else "lines"
    for name, values in info.fitness.items():
        colour, dash = FITNESS_STYLES[name]
        line = {"color": colour, "dash": dash, "width": 2}
        figure.add_scatter(x=generations, y=values, name=name, mode=mode, line=line, row=1, col=1)
    line = {"color": DIVERSITY, "width": 2}
    figure.add_scatter(
        x=generations, y=info.diversity, mode=mode, line=line, showlegend=False, row=2, col=1
    )
    for name, counts in info.counts.items():
        if any(counts):
            marker = {"color": COUNT_COLOURS[name]}
            label = f"{name} ({sum(counts)})"
            figure.add_bar(x=generations, y=counts, name=label, marker=marker, row=3, col=1)
    figure.update_xaxes(**generation_axis(info.n_generations))
    figure.update_xaxes(title="generation", row=3)
    for row, name in enumerate(("fitness (value)", "diversity<br>of genomes", "trials"), start=1):
        figure.update_yaxes(title=name, row=row)
    figure.update_yaxes(rangemode="tozero", row=2)
    if not info.has_population:
        figure.update_yaxes(row=1, **BLANK)
        figure.update_yaxes(row=2, **BLANK)
    legend = {"traceorder": "normal"}
    return finish(figure, info.title, width=950, height=760, barmode="stack", legend=legend)
