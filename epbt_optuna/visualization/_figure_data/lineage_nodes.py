"""The individuals that `plot_lineage` shows, and the lines between them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

__all__ = ["LineageNode", "Place", "best_ancestry", "inheritance", "line_between", "survival"]

Place: TypeAlias = tuple[int, int]
"""(generation, row): where a trial stands in the picture."""


class LineageNode(NamedTuple):
    """One trial and its place in the picture.

    Attributes:
        number: The trial's number.
        generation: Its generation, the horizontal place.
        row: Its row, the vertical place; 0 is the top.
        founder: Number of the trial that its weights come from in the end; a founder's own.
        state: `"complete"`, `"pruned"`, `"failed"` or `"unfinished"`.
        value: Its value, or None; of a pruned trial what it reported last.
        params: Its params.
        parent: Number of the trial whose weights it inherited, or None.
        mate: Number of the other parent in crossover, or None.
        mate_weight: The mate's share in the weights that it started from.
        is_elite: Whether it is its parent, an elite that goes on training.
        last_generation: The last one after which it is alive; its own if it never survived one.
        is_best: Whether it is the study's best trial.
        in_best_ancestry: Whether it is, or handed weights down to it.
    """

    number: int
    generation: int
    row: int
    founder: int
    state: str
    value: float | None
    params: dict[str, Any]
    parent: int | None
    mate: int | None
    mate_weight: float
    is_elite: bool
    last_generation: int
    is_best: bool
    in_best_ancestry: bool


def inheritance(nodes: list[LineageNode], children: list[LineageNode]) -> list[list[Place]]:
    """Return the lines from parents to these children, as far as they are others."""
    return [
        line_between(nodes[n.parent], n)
        for n in children
        if n.parent is not None and not n.is_elite
    ]


def survival(nodes: list[LineageNode], survivors: list[LineageNode]) -> list[list[Place]]:
    """Return the lines of those who survive, or go on training, through these generations."""
    alive = [
        [(n.generation, n.row), (n.last_generation, n.row)]
        for n in survivors
        if n.last_generation > n.generation
    ]
    trained = [
        line_between(nodes[n.parent], n) for n in survivors if n.parent is not None and n.is_elite
    ]
    return alive + trained


def line_between(parent: LineageNode, child: LineageNode) -> list[Place]:
    """Return the line from a parent, where it was alive last before the child, to the child."""
    left = max(parent.generation, min(parent.last_generation, child.generation - 1))
    return [(left, parent.row), (child.generation, child.row)]


def best_ancestry(nodes: list[LineageNode]) -> list[Place]:
    """Return the line from the founder to the best trial, and on for as long as that one lives."""
    ancestors = [node for node in nodes if node.in_best_ancestry]
    line: list[Place] = []
    for ancestor, child in pairwise(ancestors):
        line += [(ancestor.generation, ancestor.row), line_between(ancestor, child)[0]]
    for best in ancestors[-1:]:
        line += [(best.generation, best.row), (best.last_generation, best.row)]
    return line
