"""In which rows `plot_lineage` puts individuals: relatives side by side, and no line across."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epbt_optuna import EPBTSampler, PBTSampler
from epbt_optuna.visualization._figure_data.descent import TreeNode, founders, rows
from epbt_optuna.visualization._figure_data.lineage import LineageInfo, lineage_info
from epbt_optuna.visualization._figure_data.lineage_nodes import Place
from tests.visualization.studies import eight_trials, study_of


def one(
    parent: int | None = None,
    generation: int = 0,
    last: int | None = None,
    *,
    goes_on: bool = False,
    best: bool = False,
    unfitness: float = 0.0,
) -> TreeNode:
    last = generation if last is None else last
    return TreeNode(parent, generation, last, goes_on, best, unfitness)


@st.composite
def histories(draw: st.DrawFn) -> list[TreeNode]:
    """Draw individuals of whom each parent is alive just before its child is born."""
    individuals: list[TreeNode] = []
    for generation in range(draw(st.integers(1, 7))):
        alive = [i for i, one in enumerate(individuals) if one.last_generation >= generation - 1]
        for _ in range(draw(st.integers(1, 5))):
            parent = draw(st.sampled_from([None, *alive]))
            last = generation + draw(st.integers(0, 3))
            individuals.append(one(parent, generation, last, best=draw(st.booleans())))
    return individuals


@given(histories())
def test_nobody_shares_a_row_in_a_generation_and_no_line_crosses_another(
    individuals: list[TreeNode],
) -> None:
    placed = rows(individuals)
    assert min(placed) == 0
    for generation in range(1 + max(i.last_generation for i in individuals)):
        here = [
            n for n, i in enumerate(individuals) if i.generation <= generation <= i.last_generation
        ]
        assert len({placed[n] for n in here}) == len(here)
        # Every line between the last generation and this one, of inheritance or of an elite.
        steps = []
        for n in here:
            before = n if individuals[n].generation < generation else individuals[n].parent
            if before is not None:
                steps.append((placed[before], placed[n]))
        for (left, right), (other_left, other_right) in itertools.combinations(steps, 2):
            assert (left - other_left) * (right - other_right) >= 0


@given(outcomes=st.text("CCCPF", min_size=1, max_size=50), seed=st.integers(0, 99))
def test_lines_of_inheritance_of_a_study_do_not_cross(outcomes: str, seed: int) -> None:
    info = lineage_info(study_of(outcomes, sampler=EPBTSampler(5, seed=seed)))
    for line, other in itertools.combinations(info.inheritance, 2):
        if [place[0] for place in line] == [place[0] for place in other]:
            (left, right), (other_left, other_right) = ([p[1] for p in x] for x in (line, other))
            assert (left - other_left) * (right - other_right) >= 0


def test_a_branch_that_died_out_leaves_its_rows_to_others() -> None:
    first, second = [one(best=True)], [one()]
    children = [one(1, 1), one(1, 1), one(1, 1), one(2, 2), one(2, 2), one(2, 2)]
    offspring = [one(0, 3)] + [one(8, 4) for _ in range(6)]
    placed = rows([*first, *second, *children, *offspring])
    assert max(placed) < len(placed) // 2


def test_in_the_middle_is_the_ancestry_of_the_best_and_outside_who_died_first() -> None:
    founders_only = [one(unfitness=n) for n in range(4)]
    later = [one(2, 1, best=True), one(1, 1), one(4, 2, best=True), one(5, 2), one(7, 3)]
    individuals = [*founders_only, *later]
    individuals[2] = individuals[2]._replace(leads_to_best=True)
    placed = rows(individuals)
    by_row = sorted(range(4), key=placed.__getitem__)
    assert by_row in ([0, 2, 1, 3], [3, 1, 2, 0])


def test_who_goes_on_training_keeps_its_parents_row() -> None:
    going_on = [one(0, 1), one(0, 1, goes_on=True), one(2, 2), one(2, 2, goes_on=True)]
    placed = rows([one(), *going_on])
    assert placed[0] == placed[2] == placed[4]


@given(seed=st.integers(0, 99))
def test_members_of_pbt_that_keep_their_weights_keep_their_row(seed: int) -> None:
    info = lineage_info(study_of("C" * 24, sampler=PBTSampler(4, seed=seed)))
    kept = [n for n in info.nodes if n.parent is not None and n.parent % 4 == n.number % 4]
    assert kept
    assert all(info.nodes[n.parent or 0].row == n.row for n in kept)


def test_thousands_of_generations_are_no_deeper_than_pythons_stack() -> None:
    line = [one(None if n == 0 else n - 1, n, goes_on=n > 0) for n in range(5_000)]
    assert rows(line) == [0] * 5_000


def test_founders_are_who_the_weights_come_from_in_the_end() -> None:
    assert founders([one(), one(), one(0, 1), one(1, 1), one(2, 2)]) == [0, 1, 0, 1, 0]


def lines(info: LineageInfo) -> list[list[Place]]:
    return [line for clade in info.clades for line in (*clade.inheritance, *clade.survival)]


@pytest.mark.parametrize("n_trials", [1, 8, 60])
def test_clades_have_every_trial_and_line_once_the_largest_first(n_trials: int) -> None:
    info = lineage_info(study_of("C" * n_trials, sampler=EPBTSampler(9, seed=0)))
    numbers = [node.number for clade in info.clades for node in clade.nodes]
    assert sorted(numbers) == list(range(n_trials))
    assert sorted(lines(info)) == sorted([*info.inheritance, *info.survival])
    *named, others = [len(clade.nodes) for clade in info.clades]
    assert named == sorted(named, reverse=True)
    assert len(info.clades) <= 7
    if n_trials == 60:
        assert info.clades[-1].name == f"3 other founders ({others} trials)"
        assert len({clade.colour for clade in info.clades}) == 7


def test_a_clade_is_named_by_its_founder() -> None:
    info = lineage_info(eight_trials())
    for clade in info.clades:
        (founder,) = {node.founder for node in clade.nodes}
        assert clade.name == f"founder {founder} ({len(clade.nodes)} trials)"
