"""`plot_generations` in matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from optuna import Study

from epbt_optuna.visualization._figure_data.generations import GenerationsInfo, generations_info
from epbt_optuna.visualization._style import COUNT_COLOURS, DIVERSITY, FITNESS_STYLES
from epbt_optuna.visualization.matplotlib._figure import (
    LINE_STYLES,
    literal,
    make_axes,
    set_generation_axis,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

__all__ = ["plot_generations"]


def plot_generations(study: Study, *, figure: Figure | SubFigure | None = None) -> Any:
    """Plot how the generations did: fitness, diversity, and what became of their trials.

    What is in which panel, `epbt_optuna.visualization.plot_generations` says.

    Args:
        study: A study that a sampler of ours has bred in; its trials may be in any state.
        figure: Where to draw. Default: a new figure of pyplot's.

    Returns:
        An array of three `matplotlib.axes.Axes`.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: The study is empty, or no sampler of ours has asked a trial in it.
    """
    info = generations_info(study)
    ratios = {"height_ratios": [2.5, 1, 1]}
    panels = make_axes(figure, 3, size=(9, 7.5), sharex=True, gridspec_kw=ratios)[:, 0]
    _draw(panels, info)
    panels[0].set_title(literal(info.title), loc="left")
    set_generation_axis(panels[2], info.n_generations)
    for axes, name in zip(
        panels, ("fitness (value)", "diversity\nof genomes", "trials"), strict=True
    ):
        axes.set_ylabel(name)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
    if not info.has_population:
        panels[0].set_yticks([])
        panels[1].set_yticks([])
    panels[2].locator_params(axis="y", integer=True)
    panels[0].figure.align_ylabels(panels)
    return panels


def _draw(panels: Any, info: GenerationsInfo) -> None:
    generations = np.arange(info.n_generations)
    marker = "." if info.n_generations <= 40 else ""
    for name, values in info.fitness.items():
        colour, dash = FITNESS_STYLES[name]
        style = {"color": colour, "linestyle": LINE_STYLES[dash], "marker": marker}
        panels[0].plot(generations, np.array(values, dtype=float), label=name, **style)
    diversity = np.array(info.diversity, dtype=float)
    panels[1].plot(generations, diversity, color=DIVERSITY, marker=marker)
    panels[1].set_ylim(bottom=0)
    bottom = np.zeros(info.n_generations, dtype=int)
    for name, counts in info.counts.items():
        if any(counts):
            label = f"{name} ({sum(counts)})"
            panels[2].bar(
                generations, counts, bottom=bottom, color=COUNT_COLOURS[name], label=label
            )
            bottom += counts
