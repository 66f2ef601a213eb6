"""What `plot_lineage` shows: every individual for as long as it lives, beside its relatives."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

from optuna import Study

from epbt_optuna.lineage import lineage_graph
from epbt_optuna.visualization._figure_data.descent import TreeNode, founders, rows
from epbt_optuna.visualization._figure_data.lineage_nodes import (
    LineageNode,
    Place,
    best_ancestry,
    inheritance,
    line_between,
    survival,
)
from epbt_optuna.visualization._style import (
    FOUNDER_COLOURS,
    GREY,
    MOST_TRIALS_WITH_MATES,
    is_drawable,
    number_text,
    short,
)

if TYPE_CHECKING:
    import networkx

__all__ = [
    "Clade",
    "ColorBy",
    "LineageInfo",
    "check_color_by",
    "lineage_info",
]

ColorBy: TypeAlias = Literal["fitness", "founder"]

_STATES = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "unfinished",
    "WAITING": "unfinished",
}


class Clade(NamedTuple):
    """A founder and everybody whose weights come from it, or those of all lesser founders.

    Attributes:
        name: What the legend says.
        colour: Its colour.
        nodes: The trials.
        inheritance: Lines between them, from parents to children.
        survival: Lines of those of them who are elites.
    """

    name: str
    colour: str
    nodes: list[LineageNode]
    inheritance: list[list[Place]]
    survival: list[list[Place]]


class LineageInfo(NamedTuple):
    """Everything that `plot_lineage` draws; a line is a list of places.

    Attributes:
        study_name: The study's name.
        maximize: Whether greater values are fitter.
        nodes: The trials, by number.
        n_rows: How many rows there are.
        inheritance: From parents to children who are others.
        crossover: From mates to children that have none of their weights.
        averaging: From mates to children whose weights were averaged with theirs.
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
    averaging: list[list[Place]]
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

    @property
    def shows_mates(self) -> bool:
        """Whether lines from mates are drawn: many of them hide who descends from whom."""
        return len(self.nodes) <= MOST_TRIALS_WITH_MATES

    def size(self, most: float, *, width: float, height: float) -> float:
        """Return how large a marker is to be, so that those side by side can be told apart.

        Args:
            most: Its size where there is room, in pixels or points.
            width: Width of the picture, in the same unit.
            height: Its height.
        """
        room = min(0.75 * width / self.n_generations, 1.3 * height / self.n_rows)
        return max(0.4 * most, min(most, room))

    @property
    def clades(self) -> list[Clade]:
        """The founders with most descendants, each in its colour, and all others in grey."""
        sizes = Counter(node.founder for node in self.nodes)
        shown = dict(
            zip((founder for founder, _ in sizes.most_common()), FOUNDER_COLOURS, strict=False)
        )
        clades = [
            self._clade(f"founder {founder} ({sizes[founder]} trials)", colour, {founder})
            for founder, colour in shown.items()
        ]
        if others := sizes.keys() - shown.keys():
            n_trials = sum(sizes[founder] for founder in others)
            name = f"{len(others)} other founders ({n_trials} trials)"
            clades.append(self._clade(name, GREY, others))
        return clades

    def _clade(self, name: str, colour: str, of: set[int]) -> Clade:
        nodes = [node for node in self.nodes if node.founder in of]
        return Clade(
            name, colour, nodes, inheritance(self.nodes, nodes), survival(self.nodes, nodes)
        )


def check_color_by(color_by: str) -> None:
    """Raise a ValueError unless it is one of the ways to colour."""
    if color_by not in get_args(ColorBy):
        raise ValueError(f"`color_by` must be one of {get_args(ColorBy)} but got {color_by!r}.")


def lineage_info(study: Study) -> LineageInfo:
    """Read a study's lineage and give every trial its place.

    Raises:
        ValueError: The study is empty, or no sampler of ours has asked a trial in it.
    """
    graph = lineage_graph(study)
    maximize = graph.graph["direction"] == "maximize"
    nodes = _placed([_node(graph, number) for number in sorted(graph)], maximize)
    crossover, averaging = (
        [
            line_between(nodes[n.mate], n)
            for n in nodes
            if n.mate is not None and bool(n.mate_weight) is is_in
        ]
        for is_in in (False, True)
    )
    return LineageInfo(
        study_name=graph.graph["study_name"],
        maximize=maximize,
        nodes=nodes,
        n_rows=1 + max(node.row for node in nodes),
        inheritance=inheritance(nodes, nodes),
        crossover=crossover,
        averaging=averaging,
        survival=survival(nodes, nodes),
        best_ancestry=best_ancestry(nodes),
        colour_range=_colour_range(nodes, maximize),
    )


def _node(graph: networkx.DiGraph, number: int) -> LineageNode:
    attributes = graph.nodes[number]
    relatives = {edge["kind"]: other for other, _, edge in graph.in_edges(number, data=True)}
    mate = relatives.get("crossover")
    survives_until = attributes["survives_until"]
    return LineageNode(
        number=number,
        generation=attributes["generation"],
        row=-1,
        founder=-1,
        state=_STATES[attributes["state"]],
        value=attributes["value"],
        params=attributes["params"],
        parent=relatives.get("weights"),
        mate=mate,
        mate_weight=0.0 if mate is None else graph.edges[mate, number]["mate_weight"],
        is_elite=attributes["elite"],
        last_generation=attributes["generation"] if survives_until is None else survives_until,
        is_best=attributes["best"],
        in_best_ancestry=attributes["in_best_ancestry"],
    )


def _placed(nodes: list[LineageNode], maximize: bool) -> list[LineageNode]:
    """Return the nodes, by number, with their rows and founders."""
    individuals = [
        TreeNode(
            parent=node.parent,
            generation=node.generation,
            last_generation=node.last_generation,
            goes_on=node.parent is not None and node.params == nodes[node.parent].params,
            leads_to_best=node.in_best_ancestry,
            unfitness=_unfitness(node, maximize),
        )
        for node in nodes
    ]
    placed = zip(nodes, rows(individuals), founders(individuals), strict=True)
    return [node._replace(row=row, founder=founder) for node, row, founder in placed]


def _unfitness(node: LineageNode, maximize: bool) -> float:
    if node.state != "complete" or node.value is None:
        return math.inf
    return -node.value if maximize else node.value


def _best_text(best: LineageNode | None, n_trials: int) -> str:
    trials = f"{n_trials} trial{'s' if n_trials > 1 else ''}"
    if best is None:
        return f"{trials}, no best one yet"
    return f"{trials}, best trial {best.number} with {number_text(best.value)}"


def _colour_range(nodes: list[LineageNode], maximize: bool) -> tuple[float, float]:
    finite = [value for value in _fitness_values(nodes) if is_drawable(value)]
    if not finite:
        return 0.0, 1.0
    fittest_last = sorted(finite, reverse=not maximize)
    shown = fittest_last[len(finite) // 20 :]
    return min(shown), max(shown)


def _fitness_values(nodes: list[LineageNode]) -> list[float]:
    """Return the values that are fitness: a pruned trial's is only what it reported last."""
    return [n.value for n in nodes if n.state == "complete" and n.value is not None]
