"""What both backends share: colours that colour-blind readers can tell apart, and words."""

from __future__ import annotations

import math

__all__ = [
    "BEST",
    "BLUE",
    "COUNT_COLOURS",
    "CROSS_ENTROPY_LIMITS",
    "DIVERSITY",
    "FAINT",
    "FITNESS_STYLES",
    "FOUNDER_COLOURS",
    "GREY",
    "INK",
    "LATE",
    "MOST_GENERATION_TICKS",
    "MOST_TRIALS_WITH_MATES",
    "STATE_COLOURS",
    "grid_shape",
    "is_drawable",
    "number_text",
    "short",
]

# Colours of Okabe and Ito (2008); quantities have viridis (Smith and van der Walt 2015).
BLUE, BEST, DIVERSITY = "#0072B2", "#D55E00", "#009E73"
INK, GREY, FAINT = "#222222", "#7F7F7F", "#C8C8C8"
STATE_COLOURS = {"pruned": "#CC79A7", "failed": "#000000", "unfinished": "#56B4E9"}
COUNT_COLOURS = {"complete": FAINT, **STATE_COLOURS}
FOUNDER_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#F0E442")
FITNESS_STYLES = {
    "best": (BEST, "solid"),
    "median": (BLUE, "solid"),
    "mean": ("#56B4E9", "dash"),
    "worst": (GREY, "dot"),
}

# Where viridis ends for lines on white: its yellow would be hard to see.
LATE = 0.92

MOST_GENERATION_TICKS = 26  # fit side by side
MOST_TRIALS_WITH_MATES = 150

CROSS_ENTROPY_LIMITS = (-0.1, 5.0)


def grid_shape(n_panels: int) -> tuple[int, int]:
    """Return rows and columns for small multiples."""
    n_columns = (1, 2, 3, 2, 3, 3)[n_panels - 1] if n_panels <= 6 else 4
    return math.ceil(n_panels / n_columns), n_columns


def is_drawable(value: float) -> bool:
    """Return whether there is room for a value on an axis, as there is not next to infinity."""
    return abs(value) < 1e300


def short(value: object, length: int = 60) -> str:
    """Return a name or value of the user's as a text of at most this length."""
    text = str(value)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def number_text(value: float | None) -> str:
    """Return a value as it is written in titles and hover texts."""
    return "none" if value is None else f"{value:.4g}"
