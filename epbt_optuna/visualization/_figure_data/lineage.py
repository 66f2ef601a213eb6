"""What `plot_lineage` shows: every individual in a row of its own for as long as it lives."""

from __future__ import annotations

import math
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from optuna import Study

from epbt_optuna.lineage import lineage_graph
from epbt_optuna.visualization._style import number_text, short

if TYPE_CHECKING:
    import networkx

__all__ = ["LineageInfo", "LineageNode", "Place", "lineage_info"]

Place: TypeAlias = tuple[int, int]
"""(generation, row): where a trial stands in the picture."""

_STATES = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "unfinished",
    "WAITING": "unfinished",
}


class LineageNode(NamedTuple):
    """One trial and its place in the picture.

    Attributes:
        number: The trial's number.
        generation: Its generation, the horizontal place.
        row: Its row, the vertical place; 0 is the top.
        state: `"complete"`, `"pruned"`, `"failed"` or `"unfinished"`.
        value: Its value, or None; of a pruned trial what it reported last.
        params: Its params.
        parent: Number of the trial whose weights it inherited, or None.
        mate: Number of the other parent in crossover, or None.
        is_elite: Whether it is its parent, an elite that goes on training.
        last_generation: The last one after which it is alive; its own if it never survived one.
        is_best: Whether it is the study's best trial.
        in_best_ancestry: Whether it is, or handed weights down to it.
    """

    number: int
    generation: int
    row: int
    state: str
    value: float | None
    params: dict[str, Any]
    parent: int | None
    mate: int | None
    is_elite: bool
    last_generation: int
    is_best: bool
    in_best_ancestry: bool


class LineageInfo(NamedTuple):
    """Everything that `plot_lineage` draws; a line is a list of places.

    Attributes:
        study_name: The study's name.
        maximize: Whether greater values are fitter.
        nodes: The trials, by number.
        n_rows: How many rows there are.
        inheritance: From parents to children who are others.
        crossover: From mates to children.
        survival: Elites, through the generations that they survive.
        best_ancestry: One line, from a founder to the best trial; empty where there is none.
        colour_range: Values at the two ends of the colour scale: the least and the greatest
            finite one, but the least fit twentieth is outside, so that a few individuals that
            diverged do not make all others the same colour. Where there is no value, (0, 1).
    """

    study_name: str
    maximize: bool
    nodes: list[LineageNode]
    n_rows: int
    inheritance: list[list[Place]]
    crossover: list[list[Place]]
    survival: list[list[Place]]
    best_ancestry: list[Place]
    colour_range: tuple[float, float]

    @property
    def title(self) -> str:
        """The picture's title: which study, how large, how good."""
        return f"Lineage of {short(self.study_name)}: {_best_text(self.best, len(self.nodes))}"

    @property
    def colour_ticks(self) -> dict[float, str]:
        """Values to be marked on the colour scale, and how; the less fit end may stand for more."""
        low, high = self.colour_range
        middle = [low + i * (high - low) / 4 for i in (1, 2, 3)]
        texts = {value: number_text(value) for value in (low, *middle, high)}
        values = _fitness_values(self.nodes)
        if min(values, default=low) < low:
            texts[low] = f"≤ {texts[low]}"
        if max(values, default=high) > high:
            texts[high] = f"≥ {texts[high]}"
        return texts

    def shown_value(self, node: LineageNode) -> float:
        """Return the value of a COMPLETE trial, or the end of the scale that it is beyond."""
        assert node.value is not None
        low, high = self.colour_range
        return max(low, min(high, node.value))

    @property
    def best(self) -> LineageNode | None:
        """The study's best trial, if it has one."""
        return next((node for node in self.nodes if node.is_best), None)

    @property
    def n_generations(self) -> int:
        """Generations that have begun."""
        return self.nodes[-1].generation + 1


def lineage_info(study: Study) -> LineageInfo:
    """Read a study's lineage and give every trial its place.

    Raises:
        ValueError: The study is empty, or no sampler of ours has asked a trial in it.
    """
    graph = lineage_graph(study)
    maximize = graph.graph["direction"] == "maximize"
    nodes = _placed([_node(graph, number) for number in sorted(graph)], maximize)
    return LineageInfo(
        study_name=graph.graph["study_name"],
        maximize=maximize,
        nodes=nodes,
        n_rows=1 + max(node.row for node in nodes),
        inheritance=[
            _edge(nodes[n.parent], n) for n in nodes if n.parent is not None and not n.is_elite
        ],
        crossover=[_edge(nodes[n.mate], n) for n in nodes if n.mate is not None],
        survival=[
            [(n.generation, n.row), (n.last_generation, n.row)]
            for n in nodes
            if n.last_generation > n.generation
        ]
        + [_edge(nodes[n.parent], n) for n in nodes if n.parent is not None and n.is_elite],
        best_ancestry=_best_ancestry(nodes),
        colour_range=_colour_range(nodes, maximize),
    )


def _node(graph: networkx.DiGraph, number: int) -> LineageNode:
    attributes = graph.nodes[number]
    relatives = {edge["kind"]: other for other, _, edge in graph.in_edges(number, data=True)}
    survives_until = attributes["survives_until"]
    return LineageNode(
        number=number,
        generation=attributes["generation"],
        row=-1,
        state=_STATES[attributes["state"]],
        value=attributes["value"],
        params=attributes["params"],
        parent=relatives.get("weights"),
        mate=relatives.get("crossover"),
        is_elite=attributes["elite"],
        last_generation=attributes["generation"] if survives_until is None else survives_until,
        is_best=attributes["best"],
        in_best_ancestry=attributes["in_best_ancestry"],
    )


def _placed(nodes: list[LineageNode], maximize: bool) -> list[LineageNode]:
    """Return the nodes, by number, with their rows.

    Founders are ordered by fitness. Elites stay where they are, trained on or not, unless workers
    that wait for nobody have continued one twice. Offspring take the free rows in the order of
    their parents': no two lines of inheritance into a generation cross, and when a generation
    fills all free rows, their lengths in rows add up to the least there is.
    """
    rows: dict[int, int] = {}
    for generation, newborn in groupby(nodes, key=lambda node: node.generation):
        alive = [node for node in nodes if node.generation < generation <= node.last_generation]
        taken = {rows[node.number] for node in alive}
        wanted = {}
        for node in newborn:
            row = math.inf if node.parent is None else rows[node.parent]
            if node.is_elite and row not in taken:
                rows[node.number] = int(row)
                taken.add(int(row))
            else:
                wanted[node.number] = row
        order = sorted(wanted, key=lambda n: (wanted[n], _unfitness(nodes[n], maximize), n))
        n_rows = max(len(taken) + len(order), *(1 + row for row in rows.values()), 0)
        free = [row for row in range(n_rows) if row not in taken]
        rows.update(zip(order, _nearest([wanted[n] for n in order], free), strict=True))
    return [node._replace(row=rows[node.number]) for node in nodes]


def _nearest(wanted: list[float], free: list[int]) -> list[int]:
    """Return a free row for each that is wanted, near it, in the same (ascending) order."""
    chosen: list[int] = []
    first = 0
    for n_placed, row in enumerate(wanted, start=1):
        end = len(free) - (len(wanted) - n_placed)  # leaves one for each that is still to come
        index = min(range(first, end), key=lambda i: abs(free[i] - row))
        chosen.append(free[index])
        first = index + 1
    return chosen


def _unfitness(node: LineageNode, maximize: bool) -> float:
    if node.state != "complete" or node.value is None:
        return math.inf
    return -node.value if maximize else node.value


def _edge(parent: LineageNode, child: LineageNode) -> list[Place]:
    """Return the line from a parent, where it was alive last before the child, to the child."""
    left = max(parent.generation, min(parent.last_generation, child.generation - 1))
    return [(left, parent.row), (child.generation, child.row)]


def _best_ancestry(nodes: list[LineageNode]) -> list[Place]:
    """Return the line from the founder to the best trial, and on for as long as that one lives."""
    ancestors = [node for node in nodes if node.in_best_ancestry]
    line: list[Place] = []
    for ancestor, child in pairwise(ancestors):
        line += [(ancestor.generation, ancestor.row), _edge(ancestor, child)[0]]
    for best in ancestors[-1:]:
        line += [(best.generation, best.row), (best.last_generation, best.row)]
    return line


def _best_text(best: LineageNode | None, n_trials: int) -> str:
    trials = f"{n_trials} trial{'s' if n_trials > 1 else ''}"
    if best is None:
        return f"{trials}, no best one yet"
    return f"{trials}, best trial {best.number} with {number_text(best.value)}"


def _colour_range(nodes: list[LineageNode], maximize: bool) -> tuple[float, float]:
    finite = [value for value in _fitness_values(nodes) if math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    fittest_last = sorted(finite, reverse=not maximize)
    shown = fittest_last[len(finite) // 20 :]
    return min(shown), max(shown)


def _fitness_values(nodes: list[LineageNode]) -> list[float]:
    """Return the values that are fitness: a pruned trial's is only what it reported last."""
    return [n.value for n in nodes if n.state == "complete" and n.value is not None]
