"""Where `plot_lineage` puts every trial, line and colour."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import optuna
import pytest
from optuna import Study
from optuna.trial import TrialState

from epbt_optuna.visualization._figure_data.lineage import LineageInfo, lineage_info
from epbt_optuna.visualization._figure_data.lineage_nodes import LineageNode
from tests.visualization.studies import STUDIES, Direction, eight_trials, study_of


def nodes_alive(info: LineageInfo, generation: int) -> list[LineageNode]:
    return [n for n in info.nodes if n.generation <= generation <= n.last_generation]


def test_nodes_say_what_the_trials_were() -> None:
    study = eight_trials()
    nodes = lineage_info(study).nodes
    assert [node.number for node in nodes] == list(range(8))
    assert [node.generation for node in nodes] == [0, 0, 0, 0, 1, 1, 2, 2]
    assert [node.last_generation for node in nodes] == [0, 0, 1, 2, 2, 1, 2, 2]
    states = ["complete", "pruned", *["complete"] * 3, "failed", "complete", "unfinished"]
    assert [node.state for node in nodes] == states
    assert [node.value for node in nodes][-2:] == [6.0, None]
    assert [node.params for node in nodes] == [trial.params for trial in study.trials]
    assert [node.number for node in nodes if node.is_best] == [6]
    recorded = [trial.system_attrs["epbt:lineage"] for trial in study.trials]
    assert [(n.parent, n.mate) for n in nodes] == [(r["parent"], r["mate"]) for r in recorded]


@pytest.mark.parametrize("make_study", STUDIES.values(), ids=STUDIES.keys())
def test_nobody_shares_a_row_while_alive(make_study: Callable[[], Study]) -> None:
    info = lineage_info(make_study())
    for generation in range(info.n_generations):
        rows = [node.row for node in nodes_alive(info, generation)]
        assert len(rows) == len(set(rows))
        assert all(0 <= row < info.n_rows for row in rows)


def test_lines_lead_from_where_a_parent_was_alive_last_to_its_child() -> None:
    info = lineage_info(eight_trials())
    children = [node for node in info.nodes if node.parent is not None]
    assert len(info.inheritance) == len(children) == 4
    for child, (start, end) in zip(children, info.inheritance, strict=True):
        assert child.parent is not None
        assert start == (child.generation - 1, info.nodes[child.parent].row)
        assert end == (child.generation, child.row)
    assert len(info.crossover) == sum(node.mate is not None for node in info.nodes)


def test_elites_are_level_lines_over_the_generations_that_they_survive() -> None:
    info = lineage_info(eight_trials())
    rows = [node.row for node in info.nodes]
    assert info.survival == [
        [(0, rows[2]), (1, rows[2])],
        [(0, rows[3]), (2, rows[3])],
        [(1, rows[4]), (2, rows[4])],
    ]


def test_the_ancestry_of_the_best_is_one_line_from_founder_to_best() -> None:
    info = lineage_info(eight_trials())
    assert info.best is not None
    chain = [info.best]
    while (parent := chain[0].parent) is not None:
        chain.insert(0, info.nodes[parent])
    assert [node.number for node in info.nodes if node.in_best_ancestry] == [
        node.number for node in chain
    ]
    line = info.best_ancestry
    assert line[0] == (chain[0].generation, chain[0].row)
    assert line[-1] == (info.best.last_generation, info.best.row)
    assert all(node == (n.generation, n.row) for node, n in zip(line[::2], chain, strict=True))
    assert all(left[0] <= right[0] for left, right in itertools.pairwise(line))


def test_without_a_best_trial_there_is_no_ancestry_and_the_title_says_so() -> None:
    info = lineage_info(STUDIES["only failed and pruned"]())
    assert info.best is None
    assert info.best_ancestry == []
    assert info.colour_range == (0.0, 1.0)
    assert info.title == "Lineage of a <b> study: 6 trials, no best one yet"


@pytest.mark.parametrize(("direction", "shown"), [("maximize", (2, 39)), ("minimize", (0, 37))])
def test_the_least_fit_twentieth_is_beyond_the_colour_scale(
    direction: Direction, shown: tuple[float, float]
) -> None:
    info = lineage_info(study_of("C" * 40, direction=direction))
    assert info.colour_range == shown
    values = [info.shown_value(node) for node in info.nodes]
    assert (min(values), max(values)) == shown
    less_fit_end, fit_end = shown if direction == "maximize" else shown[::-1]
    sign = "≤" if direction == "maximize" else "≥"
    assert info.colour_ticks[less_fit_end] == f"{sign} {less_fit_end:g}"
    assert info.colour_ticks[fit_end] == f"{fit_end:g}"


def test_infinite_values_are_shown_at_the_end_of_the_colour_scale() -> None:
    info = lineage_info(STUDIES["infinite fitness"]())
    assert info.colour_range == (0.0, 7.0)
    assert info.shown_value(info.nodes[1]) == 7
    assert info.colour_ticks[7] == "≥ 7"


def test_a_study_that_was_not_bred_by_us_is_an_error_that_says_so() -> None:
    study = optuna.create_study(study_name="other")
    with pytest.raises(ValueError, match="'other' is empty"):
        lineage_info(study)
    study.add_trial(optuna.trial.create_trial(value=1.0))
    assert study.trials[0].state == TrialState.COMPLETE
    with pytest.raises(ValueError, match="neither EPBTSampler nor PBTSampler"):
        lineage_info(study)
