"""Rows for individuals so that relatives are side by side and lines of inheritance do not cross.

Drawn is a tree, as by Reingold and Tilford (1981): each individual with all of its descendants is
laid out by itself, as its branch, and branches are then moved together until they nearly touch in
some generation. Rows are used again: where one branch has died out, another may spread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["TreeNode", "founders", "rows"]


class TreeNode(NamedTuple):
    """What decides where an individual stands.

    Attributes:
        parent: Index of the one whose weights it inherited, which is smaller; or None.
        generation: The generation that it is born in.
        last_generation: The last one in which its row must be free.
        goes_on: Whether it is its parent, trained on, and so belongs into its parent's row.
        leads_to_best: Whether it, or one that descends from it, is the best.
        unfitness: Orders those that are equal otherwise.
    """

    parent: int | None
    generation: int
    last_generation: int
    goes_on: bool
    leads_to_best: bool
    unfitness: float


def founders(individuals: Sequence[TreeNode]) -> list[int]:
    """Return from whom each one's weights come in the end; a founder's come from itself."""
    found: list[int] = []
    for index, one in enumerate(individuals):
        found.append(index if one.parent is None else found[one.parent])
    return found


def rows(individuals: Sequence[TreeNode]) -> list[int]:
    """Return the row of each individual; 0 is the top, and one is kept for life.

    In the middle is the founder whose weights the best has. Next to it are those whose descendants
    lived longest, so who dies out first is on the top and on the bottom.
    """
    families = _families(individuals)
    offsets = [0] * len(individuals)  # from the parent's row; from the first founder's
    branches: dict[int, _Branch] = {}
    for index in reversed(range(len(individuals))):  # children before parents
        branch = _Branch(individuals[index])
        for child in families[index]:
            offsets[child] = branch.offset_for(branches[child])
            branch = branch.joined(branches.pop(child), offsets[child])
        branches[index] = branch
    first, *others = families[None]
    tree = branches[first]
    for founder in others:
        offsets[founder] = tree.offset_for(branches[founder])
        tree = tree.joined(branches[founder], offsets[founder])
    found: list[int] = []
    for index, one in enumerate(individuals):
        found.append(offsets[index] - (tree.top if one.parent is None else -found[one.parent]))
    return found


def _families(individuals: Sequence[TreeNode]) -> dict[int | None, list[int]]:
    """Return the children of everybody, and the founders under None, in the order of placing.

    An elite's line goes on while it has children in several generations. Those born later must
    stand nearer to it: else the way to them leads through a branch that has begun before.
    """
    families: dict[int | None, list[int]] = defaultdict(list)
    last = [one.last_generation for one in individuals]
    size = [1] * len(individuals)
    for index in reversed(range(len(individuals))):
        parent = individuals[index].parent
        families[parent].append(index)
        if parent is not None:
            last[parent] = max(last[parent], last[index])
            size[parent] += size[index]

    def key(index: int) -> tuple[float, ...]:
        one = individuals[index]
        is_elder = 0 if one.parent is None else -one.generation
        is_other = not one.goes_on, not one.leads_to_best
        return is_elder, *is_other, -last[index], -size[index], one.unfitness, index

    for family in families.values():
        family.sort(key=key)
    return families


class _Branch:
    """The rows that a branch takes in each generation, from the row of the one it begins with.

    Args:
        individual: The one it begins with, alone so far.
    """

    def __init__(self, individual: TreeNode) -> None:
        generations = range(individual.generation, individual.last_generation + 1)
        self._spans = dict.fromkeys(generations, (0, 0))  # by generation: first and last row
        self._shift = 0  # to be added to each, so that moving a branch costs nothing

    @property
    def top(self) -> int:
        """The first row of all."""
        return self._shift + min(first for first, _ in self._spans.values())

    def offset_for(self, other: _Branch) -> int:
        """Return how far another branch must be moved to be beside this one, if at all."""
        apart = other._shift - self._shift
        down = up = 0
        shorter = min(self._spans, other._spans, key=len)
        for generation in shorter:
            if generation in self._spans and generation in other._spans:
                first, last = self._spans[generation]
                other_first, other_last = other._spans[generation]
                down = max(down, last + 1 - other_first - apart)
                up = max(up, other_last + 1 - first + apart)
        return down if down <= up else -up

    def joined(self, other: _Branch, offset: int) -> _Branch:
        """Return both as one, where the other has been moved; neither is to be used any more."""
        other._shift += offset
        # The shorter is put into the longer: else long ancestries would cost their square.
        small, large = sorted((self, other), key=lambda branch: len(branch._spans))
        apart = small._shift - large._shift
        for generation, (first, last) in small._spans.items():
            ends = (first + apart, last + apart, *large._spans.get(generation, ()))
            large._spans[generation] = min(ends), max(ends)
        return large
