"""What both backends share: colours that colour-blind readers can tell apart, and words."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = [
    "BEST",
    "CATEGORIES",
    "COUNT_COLOURS",
    "CROSS_ENTROPY_LIMITS",
    "DASHES",
    "DIVERSITY",
    "FAINT",
    "FITNESS_STYLES",
    "GREY",
    "INK",
    "LATE",
    "STATE_COLOURS",
    "VIRIDIS",
    "VIRIDIS_TO_LATE",
    "colour_at",
    "generation_step",
    "grid_shape",
    "log_ticks",
    "number_text",
]

# Okabe and Ito (2008), darkest first, but for their yellow: too faint for a line on white.
CATEGORIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
# More names than colours: the colours come round again, with another dash.
DASHES = ("solid", "dash", "dot", "dashdot")

INK, GREY, FAINT = "#222222", "#7F7F7F", "#C8C8C8"
BEST = "#D55E00"
STATE_COLOURS = {"pruned": "#CC79A7", "failed": "#000000", "unfinished": "#56B4E9"}
COUNT_COLOURS = {"complete": FAINT, **STATE_COLOURS}
FITNESS_STYLES = {
    "best": ("#D55E00", "solid"),
    "median": ("#0072B2", "solid"),
    "mean": ("#56B4E9", "dash"),
    "worst": ("#7F7F7F", "dot"),
}
DIVERSITY = "#009E73"

# Nine points of viridis (Smith and van der Walt 2015, CC0), from dark to light.
VIRIDIS = (
    "#440154", "#472D7B", "#3B528B", "#2C728E", "#21918C", "#28AE80", "#5EC962", "#ADDC30",
    "#FDE725",
)  # fmt: skip

# Where viridis ends for lines on white: its yellow would be hard to see.
LATE = 0.92

CROSS_ENTROPY_LIMITS = (-0.1, 5.0)


def colour_at(position: float, colours: Sequence[str] = VIRIDIS) -> str:
    """Return the colour at `position` in [0, 1] along a scale of equally spaced colours."""
    place = position * (len(colours) - 1)
    left = min(int(place), len(colours) - 2)
    share = place - left
    ends = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours[left : left + 2]]
    channels = [(1 - share) * a + share * b for a, b in zip(*ends, strict=True)]
    return "#" + "".join(f"{round(channel):02X}" for channel in channels)


def generation_step(n_generations: int) -> int:
    """Return how many generations apart ticks are, so that at most 26 fit side by side."""
    return next(
        step for step in (1, 2, 5, 10, 20, 50, 100, n_generations) if n_generations <= 26 * step
    )


def grid_shape(n_panels: int) -> tuple[int, int]:
    """Return rows and columns for small multiples."""
    n_columns = (1, 2, 3, 2, 3, 3)[n_panels - 1] if n_panels <= 6 else 4
    return math.ceil(n_panels / n_columns), n_columns


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers within a logarithmic axis: powers of ten, or 1, 2, 5 where few fit."""
    digits = (1,) if high >= 100 * low else (1, 2, 5)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    ticks = [digit * 10.0**power for power in powers for digit in digits]
    return [tick for tick in ticks if low <= tick <= high]


def number_text(value: float | None) -> str:
    """Return a value as it is written in titles and hover texts."""
    return "none" if value is None else f"{value:.4g}"


VIRIDIS_TO_LATE = tuple(colour_at(LATE * i / 8) for i in range(9))
