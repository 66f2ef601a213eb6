"""A picture of a table: a dot for each median, a line through it for the spread."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from PIL import Image

from tests.benchmarks.table import Case, Table

COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#a463f2", "#9498a0", "#97bbf5")
WIDE = 20
"""Where the greatest median is so many times the least, the axis is logarithmic."""


def draw(table: Table, path: Path) -> None:
    """Draw a panel for each unit, in few bytes."""
    units = list(dict.fromkeys(case.unit for case in table.cases))
    panels = [[case for case in table.cases if case.unit == unit] for unit in units]
    n_rows = [sum(len(case.figures) for case in panel) + len(panel) for panel in panels]
    height = 0.16 * sum(n_rows) + 0.8 * len(panels) + 0.4
    picture = Picture(figsize=(8, height), layout="constrained")
    axes = picture.subplots(len(panels), squeeze=False, height_ratios=n_rows)[:, 0]
    for unit, cases, axis in zip(units, panels, axes, strict=True):
        draw_panel(axis, cases, table.ways, unit)
    picture.suptitle(table.title, fontsize=11)
    content = io.BytesIO()
    picture.savefig(content, dpi=90, facecolor="white")
    image = Image.open(content).convert("RGB").quantize(32, Image.Quantize.MAXCOVERAGE)
    image.save(path, optimize=True)


def draw_panel(axis: Axes, cases: Sequence[Case], ways: Sequence[str], unit: str) -> None:
    """Draw the cases from top to bottom, and the ways within each, coloured by way."""
    place = 0.0
    ticks, labels, medians = [], [], []
    for case in cases:
        shown = [(way, own) for way, own in case.figures.items() if own.median is not None]
        for offset, (way, figure) in enumerate(shown):
            middle = figure.median or 0.0
            low = middle if figure.low is None else figure.low
            high = middle if figure.high is None else figure.high
            colour = COLOURS[ways.index(way) % len(COLOURS)]
            axis.plot([low, high], [place + offset] * 2, color=colour, linewidth=2)
            axis.plot(middle, place + offset, "o", color=colour)
            ticks.append(place + offset)
            labels.append(way if len(cases) == 1 else f"{case.name} · {way}")
            medians.append(middle)
        place += len(shown) + 1
    axis.set_yticks(ticks, labels, fontsize=7)
    axis.invert_yaxis()
    least, most = min(medians, default=0.0), max(medians, default=1.0)
    if 0 < WIDE * least < most:
        axis.set_xscale("log")
    elif least >= 0:
        axis.set_xlim(left=0)
    named = cases[0].name if len(cases) == 1 else ""
    axis.set_xlabel(", ".join(word for word in (named, unit) if word), fontsize=8)
    axis.tick_params(axis="x", labelsize=7)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
