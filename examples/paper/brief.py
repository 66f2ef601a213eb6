"""The results in one short table, for the README and the home page, which hold it between marks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from examples.paper import ExperimentError
from examples.paper.configs import CONFIGS
from examples.paper.plan import N_SEEDS, SIX
from examples.paper.rivals import (
    LETTER,
    RIVALS,
    ROBUST_LOSSES,
    ByConfig,
    accuracies,
    beside_recommended,
)
from examples.paper.statistics import Comparison
from examples.paper.tables import table

COLUMNS = dict(
    zip(
        SIX,
        (
            "digits", "digits, 40 % wrong", "Fashion-MNIST, 7,500 images", "the same, 40 % wrong",
            "Fashion-MNIST, 20,000 images", "the same, 40 % wrong",
        ),
        strict=True,
    )
)  # fmt: skip
ROWS = {
    "the paper's EPBT": (LETTER,),
    "PBT, the strongest of three": RIVALS["PBT"],
    "TPE": ("tpe",),
    "random search": ("random-search",),
    "one network, cross-entropy": ("cross-entropy",),
    "one network, label smoothing": ("label-smoothing",),
    "one network, generalized cross-entropy": ("generalized-cross-entropy",),
    f"one network, the strongest of {len(ROBUST_LOSSES)} losses": ROBUST_LOSSES,
}
"""What a row is called here, and the arms whose strongest it shows."""

BEGIN, END = "<!-- Made by `python -m examples.paper report`; do not edit. -->", "<!-- Made. -->"


def brief_table(configs: ByConfig) -> str:
    """Return the recommended settings minus each rival, in points, on what has been run."""
    run = [name for name in SIX if CONFIGS[name].recommended in configs.get(name, {})]
    rows = [
        ["recommended setting, %", *(mean_accuracy(configs, name) for name in run)],
        *(
            [f"minus {called}", *(difference(configs, name, rivals) for name in run)]
            for called, rivals in ROWS.items()
        ),
    ]
    return table(["", *(COLUMNS[name] for name in run)], rows)


def mean_accuracy(configs: ByConfig, config: str) -> str:
    own = configs[config][CONFIGS[config].recommended]
    return f"{fmean(accuracies(own).values()):.1f}"


def difference(configs: ByConfig, config: str, rivals: Sequence[str]) -> str:
    """Return the difference to the strongest of some rivals; nothing before all have run."""
    rival = beside_recommended(configs, config, rivals)
    return points(rival.comparison) if rival and rival.n_run == rival.n_rivals else "–"


def points(comparison: Comparison) -> str:
    """Return a difference with half the width of its interval, bold where that leaves out zero."""
    half = (comparison.high - comparison.low) / 2
    said = f"{comparison.difference:+.1f}".replace("-0.0", "+0.0").replace("-", "−")
    seeds = f" (n = {comparison.n})" if comparison.n < N_SEEDS else ""
    text = f"{said} ± {half:.1f}".replace(" ", "\N{NO-BREAK SPACE}") + seeds
    return text if comparison.verdict == "ties" else f"**{text}**"


def fill(page: Path, text: str) -> None:
    """Put a text between the marks of a page.

    Raises:
        ExperimentError: The page does not have each mark once, in order.
    """
    old = page.read_text(encoding="utf-8")
    above, _, rest = old.partition(BEGIN)
    _, end, below = rest.partition(END)
    if not end or old.count(BEGIN) != 1 or old.count(END) != 1:
        raise ExperimentError(f"{page} must have {BEGIN!r} and, below it, {END!r}, each once.")
    page.write_text(f"{above}{BEGIN}\n\n{text}\n\n{END}{below}", encoding="utf-8")
