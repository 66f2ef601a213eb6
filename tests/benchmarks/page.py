"""The page of the figures: sentences from `page.md`, every number from the JSON beside the page."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.table import NO_RATIOS, QUARTILES_FROM, Case, Figure, Table, read_tables

TEMPLATE = Path(__file__).with_name("page.md")
JSON, PAGE, PICTURES = "benchmarks.json", "benchmarks.md", "pictures"

# <!-- table: NAME ... | what to say where none of them was made -->
_PLACE = re.compile(r"^<!-- table: ([^|\n]+?)(?: \| (.+))? -->$", re.MULTILINE)


def write_page(folder: Path) -> None:
    """Write the page into the folder that has the JSON, and a picture for each of its tables."""
    from tests.benchmarks.pictures import draw  # what is measured shall not have imported it

    tables = read_tables(folder / JSON)
    (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    for name in names_in_template():
        if name in tables:
            draw(tables[name], folder / picture_of(name))
    (folder / PAGE).write_text(page(tables), encoding="utf-8")


def names_in_template() -> list[str]:
    """Return the names of all tables that the page has a place for."""
    text = TEMPLATE.read_text(encoding="utf-8")
    return [name for place in _PLACE.finditer(text) for name in place[1].split()]


def picture_of(name: str) -> str:
    return f"{PICTURES}/benchmarks-{name}.png"


def page(tables: Mapping[str, Table]) -> str:
    """Return the page: the template, with tables in place of their marks."""

    def section(place: re.Match[str]) -> str:
        made = [name for name in place[1].split() if name in tables]
        sections = [section_of(name, tables[name]) for name in made]
        return "\n\n".join(sections) or place[2] or "*Not measured yet.*"

    return _PLACE.sub(section, TEMPLATE.read_text(encoding="utf-8"))


def section_of(name: str, table: Table) -> str:
    """Return ratios, then medians with their spread, then where they are from."""
    warning = "**At the smallest size: this shows that it runs, and no more.**" * table.quick
    image = f"![{table.title}]({picture_of(name)})"
    parts = [warning, ratios(table), medians(table), image, origin(table)]
    return "\n\n".join(part for part in parts if part)


def ratios(table: Table) -> str:
    """Return the table of ratios; empty, if nothing is compared."""
    ways = [way for way in table.ways if table.over.get(way, way) != way]
    if not ways:
        return ""
    yardsticks = {table.over[way] for way in ways}
    common = f", each over {next(iter(yardsticks))}" if len(yardsticks) == 1 else ""
    labels = {way: way if common else f"{way} / {table.over[way]}" for way in ways}
    shown = tuple(case for case in table.cases if case.unit not in NO_RATIOS)

    def cell(case: Case, way: str) -> str:
        ratio = table.ratio(case, way)
        return "" if ratio is None else f"**{number(ratio)}**"

    rows = grid(replace(table, cases=shown), labels, cell)
    return f"{table.title}, ratios of medians{common}:\n\n{rows}"


def medians(table: Table) -> str:
    """Return the table of medians and their spread."""
    units = {case.unit for case in table.cases}
    common = units.pop() if len(units) == 1 else ""

    def cell(case: Case, way: str) -> str:
        figure = case.figures.get(way)
        unit = "" if common else f" {case.unit}"
        return "" if figure is None else (spread(figure) + unit).strip()

    counts = sorted({figure.n for case in table.cases for figure in case.figures.values()})
    n = f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]:,} to {counts[-1]:,}"
    kinds = ["quartiles" if n >= QUARTILES_FROM else "least and most" for n in counts]
    kind = " or ".join(dict.fromkeys(kinds))
    title = table.title if not ratios(table) else "Medians"
    heading = f"{title}{f', {common}' if common else ''} ({kind}; {n})"
    silent = replace(table, cases=tuple(replace(case, remark="") for case in table.cases))
    return f"{heading}:\n\n{grid(silent, {way: way for way in table.ways}, cell)}"


def grid(table: Table, labels: Mapping[str, str], cell: Callable[[Case, str], str]) -> str:
    """Return a Markdown table: ways downwards, or cases, if the table has more of these."""
    cases = table.cases
    verdicts = [case.remark for case in cases] if any(case.remark for case in cases) else []
    head = ["", *(case.name for case in cases)]
    rows = [[label, *(cell(case, way) for case in cases)] for way, label in labels.items()]
    rows += [["verdict", *verdicts]] if verdicts else []
    lines = [head, *rows]
    if len(cases) > len(table.ways):
        lines = [list(column) for column in zip(*lines, strict=True)]
    lines.insert(1, ["---", *["---:"] * (len(lines[0]) - 1)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def origin(table: Table) -> str:
    about = ", ".join(f"{key} {value}" for key, value in table.machine.items())
    used = ", ".join(f"{name} {version}" for name, version in table.versions.items())
    return f"`{table.command}`, {table.date}. {about}. {used}."


def spread(figure: Figure) -> str:
    """Return median and spread; a count, whose samples are all the same, has no spread."""
    if figure.low == figure.high:
        value = figure.median
        is_whole = value is not None and value == int(value)
        return f"{value:,.0f}" if is_whole else number(value)
    return f"{number(figure.median)} ({number(figure.low)} – {number(figure.high)})"


def number(value: float | None) -> str:
    """Return a number with three digits that count; what was never reached took forever."""
    if value is None:
        return "∞"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4}f}"
