"""`epbt lineage`: one ancestry line by line, or the whole forest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna import Study

from epbt_optuna.cli._console import Row, console, fitted_table
from epbt_optuna.lineage import ancestry, lineage_graph
from epbt_optuna.lineage.overview import format_number, format_param

__all__ = ["print_ancestry", "print_forest"]

_WORDS = {"PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}
_COLUMNS = ("", "gen", "trial", "fitness", "mate")
_LEGEND = (
    "◇ begins afresh; ○ goes on with the weights of the one above in its column; ├─○ branches off "
    "from it; ◆ and ● are the ancestry of {}."
)
_AVERAGED = "⊕ in place of × is a mate whose weights were averaged with the parent's."
_ANCESTRY, _FAINT = "bold green", "dim"


@dataclass(frozen=True)
class _Forest:
    """Whose weights went where.

    Attributes:
        trials: What `lineage_graph` says of each trial, by number.
        parents: The parent of each trial that has one.
        mates: The mate of each trial that has one, as it is shown.
        children: The children of each trial, by number.
        n_descendants: How many trials have weights that come from each trial's.
    """

    trials: Mapping[int, dict[str, Any]]
    parents: Mapping[int, int]
    mates: Mapping[int, str]
    children: Mapping[int, list[int]]
    n_descendants: Mapping[int, int]

    @classmethod
    def of(cls, study: Study) -> _Forest:
        """Read a study."""
        graph = lineage_graph(study)
        edges = graph.edges(data=True)
        weights = {child: parent for parent, child, edge in edges if edge["kind"] == "weights"}
        mates = {
            child: f"{'⊕' if edge['mate_weight'] else '×'} {mate}"
            for mate, child, edge in edges
            if edge["kind"] == "crossover"
        }
        children: dict[int, list[int]] = {trial: [] for trial in sorted(graph)}
        for child in sorted(weights):
            children[weights[child]].append(child)
        n_descendants = dict.fromkeys(graph, 0)
        for parent in reversed(children):  # children come after their parents
            n_descendants[parent] = sum(1 + n_descendants[child] for child in children[parent])
        return cls(dict(graph.nodes(data=True)), weights, mates, children, n_descendants)

    def cells(self, trial: int, indent: str, *, is_ancestor: bool) -> tuple[str, ...]:
        """Return a trial as cells of `_COLUMNS`."""
        node = self.trials[trial]
        mark = ("●◆" if is_ancestor else "○◇")[trial not in self.parents]
        return (
            indent + mark,
            str(node["generation"]),
            str(trial),
            _WORDS.get(node["state"]) or format_number(node["value"]),
            self.mates.get(trial, ""),
        )

    def lines(self, straight: set[int]) -> Iterator[tuple[int, int, bool]]:
        """Yield each trial, how far it is indented, and whether it branches off there.

        The child with most descendants goes straight on below its parent, and the others branch
        off; so the depth is logarithmic, and no run is too long to be shown.

        Args:
            straight: Trials that go straight on in any case.
        """
        founders = [trial for trial in self.children if trial not in self.parents]
        stack = [(trial, 0, False) for trial in reversed(founders)]
        while stack:
            trial, depth, branches_off = stack.pop()
            yield trial, depth, branches_off
            if children := self.children[trial]:
                heir = max(children, key=lambda c: (c in straight, self.n_descendants[c], -c))
                stack.append((heir, depth, False))
                branches = (child for child in reversed(children) if child != heir)
                stack.extend((child, depth + 1, True) for child in branches)


def print_ancestry(study: Study, trial: int | None, *, with_params: bool = False) -> None:
    """Print the ancestry of a trial, the best by default, a line for each ancestor.

    Raises:
        ValueError: As for `ancestry`.
    """
    chain = [ancestor.number for ancestor in ancestry(study, trial)]
    forest = _Forest.of(study)
    last = chain[-1]
    best = ", the best" if forest.trials[last]["best"] else ""
    columns: tuple[str, ...] = (*_COLUMNS, "other children", "descendants", "alive until")
    expendable = ("alive until", "other children", "descendants", "mate")
    rows: list[Row] = [
        (_ancestor(number, forest, last), "bold" if number == last else None) for number in chain
    ]
    if with_params:
        columns, rows = _with_params(columns, rows, [forest.trials[number] for number in chain])
    title = f"{study.study_name}: the ancestry of trial {last}{best}"
    _print(title, columns, rows, expendable)


def print_forest(study: Study, trial: int | None, *, with_params: bool = False) -> None:
    """Print every trial below its parent, with the ancestry of one emphasised.

    Raises:
        ValueError: The study is empty or not ours, or there is no such trial.
    """
    forest = _Forest.of(study)
    if trial is None:
        straight = {number for number, node in forest.trials.items() if node["in_best_ancestry"]}
    else:
        straight = {ancestor.number for ancestor in ancestry(study, trial)}
    rows: list[Row] = []
    shown: list[Mapping[str, Any]] = []
    for number, depth, branches_off in forest.lines(straight):
        indent = "│ " * (depth - branches_off) + "├─" * branches_off
        cells = forest.cells(number, indent, is_ancestor=number in straight)
        is_plain = forest.trials[number]["state"] == "COMPLETE"
        rows.append((cells, _ANCESTRY if number in straight else None if is_plain else _FAINT))
        shown.append(forest.trials[number])
    columns: tuple[str, ...] = _COLUMNS
    if with_params:
        columns, rows = _with_params(columns, rows, shown)
    _print(f"{study.study_name}: {len(rows)} trials", columns, rows, ("mate",))
    console().print(_LEGEND.format("the best" if trial is None else f"trial {trial}"), style=_FAINT)


def _ancestor(number: int, forest: _Forest, last: int) -> tuple[str, ...]:
    n_others = len(forest.children[number]) - (number != last)
    survives_until = forest.trials[number]["survives_until"]
    return (
        *forest.cells(number, "", is_ancestor=True),
        str(n_others or ""),
        str(forest.n_descendants[number] or ""),
        "" if survives_until is None else f"gen {survives_until}",
    )


def _with_params(
    columns: tuple[str, ...], rows: Sequence[Row], trials: Sequence[Mapping[str, Any]]
) -> tuple[tuple[str, ...], list[Row]]:
    """Return columns and rows with a column for each hyperparameter; nothing where there is none.

    A hyperparameter may have the name of another column: `fitted_table` tells them by name.
    """
    names = sorted({name for trial in trials for name in trial["params"]})
    headings = tuple(f"param {name}" if name in columns else name for name in names)
    longer: list[Row] = []
    for (cells, style), trial in zip(rows, trials, strict=True):
        texts = (format_param(trial["params"].get(name, "")) for name in names)
        longer.append(((*cells, *texts), style))
    return (*columns, *headings), longer


def _print(title: str, columns: Sequence[str], rows: list[Row], expendable: Sequence[str]) -> None:
    terminal = console()
    terminal.print(title, style="bold")
    terminal.print(fitted_table(terminal, columns, rows, expendable=expendable))
    if any("⊕" in cells[_COLUMNS.index("mate")] for cells, _ in rows):
        terminal.print(_AVERAGED, style=_FAINT)
