"""Pictures in a phone's width: who is ahead of whom by how much, and budgets divided."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from examples.paper.configs import CONFIGS
from examples.paper.figures import COLOURS, STYLE, WIDTH, save
from examples.paper.plan import N_SEEDS, NOISES, SIX, SWEPT
from examples.paper.questions import SWEEPS, of_recommended, sweep_comparison
from examples.paper.rivals import (
    RIVALS,
    ROBUST_LOSSES,
    ByConfig,
    Strongest,
    beside_recommended,
    label,
    strongest,
)
from examples.paper.statistics import Comparison

VERDICTS = {
    "wins": ("#0072B2", "o", "ahead of the rival"),
    "ties": ("#7F7F7F", "s", "the interval has zero in it"),
    "loses": ("#D55E00", "D", "behind the rival"),
}
FARTHEST = 3.0
"""Points; what is farther away is an arrow with its number."""


def draw_rivals(configs: ByConfig, path: Path) -> None:
    """Draw the paired difference to each rival, a panel a config: clean left, noisy right."""
    with mpl.rc_context({**STYLE, "font.size": 8, "axes.grid": False}):
        figure = Figure(figsize=(WIDTH, 8.6))
        panels = figure.subplots(3, 2, sharey=True)
        for axes, config in zip(panels.flat, SIX, strict=True):
            found = [beside_recommended(configs, config, arms) for arms in RIVALS.values()]
            draw_panel(axes, config, found)
        panels[0, 0].set_yticks(range(len(RIVALS)), [label(group) for group in RIVALS])
        panels[0, 0].set_ylim(len(RIVALS) - 0.4, -0.6)
        figure.supxlabel("points of test accuracy, recommended minus rival", fontsize=8)
        figure.legend(handles=handles(), loc="outside upper left", ncols=1, fontsize=8)
        save(figure, path)


def draw_noises(configs: ByConfig, path: Path) -> None:
    """Draw how far two evolved losses are ahead of the strongest of a single network's."""
    noisy = [config for own in NOISES.values() for config in own]
    evolved = {"TaylorGLO evolved": "recommended-noisy", "ELR evolved": "epbt-elr"}
    with mpl.rc_context({**STYLE, "font.size": 8, "axes.grid": False}):
        figure = Figure(figsize=(WIDTH, 3.0))
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (title, ours) in zip(panels, evolved.items(), strict=True):
            rivals = [strongest(configs.get(c, {}), ours, ROBUST_LOSSES) for c in noisy]
            draw_panel(axes, title, rivals)
        panels[0].set_yticks(range(len(noisy)), noisy)
        panels[0].set_ylim(len(noisy) - 0.4, -0.6)
        figure.supxlabel(
            f"points of test accuracy, minus the strongest of {len(ROBUST_LOSSES)} losses",
            fontsize=8,
        )
        figure.legend(handles=handles(), loc="outside upper left", ncols=1, fontsize=8)
        save(figure, path)


def handles() -> list[Line2D]:
    return [
        Line2D([], [], color=colour, marker=marker, markersize=4, label=said)
        for colour, marker, said in VERDICTS.values()
    ]


def draw_panel(axes: Axes, title: str, found: Sequence[Strongest | None]) -> None:
    """Draw a row for each rival."""
    known = [rival.comparison for rival in found if rival]
    ends = [0.0, *(c.low for c in known), *(c.high for c in known)]
    low, high = max(min(ends), -FARTHEST), min(max(ends), FARTHEST)
    margin = 0.08 * (high - low) or 1.0
    axes.set_xlim(low - margin, high + margin)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    axes.set_title(title, fontsize=8, loc="left")
    for row, rival in enumerate(found):
        if row % 2:
            axes.axhspan(row - 0.5, row + 0.5, color="#F2F2F2", linewidth=0)
        if rival is None:
            axes.annotate("not run", (0, row), (3, 0), textcoords="offset points", va="center",
                          fontsize=7, color="#7F7F7F")  # fmt: skip
        else:
            draw_interval(axes, row, rival.comparison)


def draw_interval(axes: Axes, row: int, comparison: Comparison) -> None:
    """Draw an interval; one that is not of all seeds is thin and hollow."""
    colour, marker, _ = VERDICTS[comparison.verdict]
    filled: Any = colour if comparison.n >= N_SEEDS else "white"
    left, right = axes.get_xlim()
    if not left < comparison.difference < right:
        off_right = comparison.difference > 0
        axes.annotate(
            f"{comparison.difference:+.1f} {'▶' if off_right else '◀'}",
            (right if off_right else left, row), ha="right" if off_right else "left",
            va="center", fontsize=7, color=colour,
        )  # fmt: skip
        return
    ends = max(comparison.low, left), min(comparison.high, right)
    axes.plot(ends, (row, row), color=colour, linewidth=1.5)
    axes.plot(
        comparison.difference, row, marker, color=colour, markerfacecolor=filled, markersize=4
    )


def draw_sweeps(configs: ByConfig, path: Path) -> None:
    """Draw what dividing the budget otherwise changes, against the recommended division."""
    headings = {"p": "population size", "generations": "generations"}
    with mpl.rc_context({**STYLE, "font.size": 8}):
        figure = Figure(figsize=(WIDTH, 3.2))
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (axis, values) in zip(panels, SWEEPS.items(), strict=True):
            for index, config in enumerate(SWEPT):
                draw_sweep(axes, configs, config, axis, COLOURS[index])
            axes.axhline(0, color="black", linewidth=0.8)
            axes.set_xscale("log", base=2)
            axes.set_xticks(values, [str(value) for value in values])
            axes.minorticks_off()
            axes.set_xlabel(headings[axis])
        panels[0].set_ylabel("difference in points")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", fontsize=8)
        save(figure, path)


def draw_sweep(axes: Axes, configs: ByConfig, config: str, axis: str, colour: str) -> None:
    shift = 1 + 0.03 * (SWEPT.index(config) - 1)  # so that intervals stand side by side
    at, points = [], []
    for value in SWEEPS[axis]:
        comparison = sweep_comparison(configs, config, axis, value)
        if value == of_recommended(CONFIGS[config], axis):
            comparison = Comparison(0, 0, 0, 1, 0)
        if comparison is not None:
            at.append(value * shift)
            points.append(comparison)
    if len(points) == 1:  # the recommended division alone
        return
    below = [c.difference - c.low for c in points]
    above = [c.high - c.difference for c in points]
    axes.errorbar(
        at, [c.difference for c in points], yerr=[below, above], color=colour, marker="o",
        markersize=3, linewidth=1, elinewidth=1, label=config,
    )  # fmt: skip
