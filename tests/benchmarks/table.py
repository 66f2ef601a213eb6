"""What a benchmark leaves: figures of several ways of doing one thing, in one or more cases."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from statistics import median, quantiles
from typing import Any

QUARTILES_FROM = 20
"""From so many samples on the spread is the middle half of them, below it all of them."""


NO_RATIOS = ("", "%")


@dataclass(frozen=True)
class Figure:
    """The median of some samples and their spread; None stands for what was never reached.

    Attributes:
        low: The first quartile; of fewer than `QUARTILES_FROM` samples, the least.
        high: The third quartile, or the greatest.
    """

    median: float | None
    low: float | None
    high: float | None
    n: int

    @classmethod
    def of(cls, samples: Iterable[float], scale: float = 1.0) -> Figure:
        """Summarise samples, each times `scale`."""
        values = sorted(scale * sample for sample in samples)
        low, high = values[0], values[-1]
        if len(values) >= QUARTILES_FROM:
            low, _, high = quantiles(values, n=4, method="inclusive")
        return cls(_finite(median(values)), _finite(low), _finite(high), len(values))


@dataclass(frozen=True)
class Case:
    """One setting, in which all ways took turns.

    Attributes:
        unit: Of the figures: `"ms"`, `"samples/s"`. Shares, in `"%"`, and what has no unit at all
            have no ratios.
        figures: By way.
        remark: What else is to be said of it, such as a verdict.
    """

    name: str
    unit: str
    figures: Mapping[str, Figure]
    remark: str = ""


@dataclass(frozen=True)
class Table:
    """The figures of one benchmark and where they are from.

    Attributes:
        title: What was measured.
        cases: The settings.
        over: By way, the way whose median its own is divided by.
        command: What makes the table again.
        date: When it was made.
        machine: CPU, cores, memory and the like.
        versions: By package.
        quick: Whether it was made at the smallest size, which shows that it runs and no more.
    """

    title: str
    cases: tuple[Case, ...]
    over: Mapping[str, str]
    command: str = ""
    date: str = ""
    machine: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    quick: bool = False

    @property
    def ways(self) -> list[str]:
        """All ways, in their order."""
        return list(dict.fromkeys(way for case in self.cases for way in case.figures))

    def ratio(self, case: Case, way: str) -> float | None:
        """Return the median over that of the way it is compared with, where there are both."""
        own, other = case.figures.get(way), case.figures.get(self.over.get(way, ""))
        if case.unit in NO_RATIOS or own is None or other is None:
            return None
        if own.median is None or not other.median:
            return None
        return own.median / other.median


def read_tables(path: Path) -> dict[str, Table]:
    """Read the tables of a file by name; none, if there is no file."""
    if not path.exists():
        return {}
    return {name: _table(raw) for name, raw in json.loads(path.read_text("utf-8")).items()}


def write_table(path: Path, name: str, table: Table) -> None:
    """Put one table into a file, in place of the one of that name; the others stay."""
    tables = {**read_tables(path), name: table}
    text = json.dumps({key: asdict(tables[key]) for key in sorted(tables)}, indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _table(raw: dict[str, Any]) -> Table:
    cases = tuple(
        Case(**{**case, "figures": {way: Figure(**own) for way, own in case["figures"].items()}})
        for case in raw["cases"]
    )
    return Table(**{**raw, "cases": cases})
