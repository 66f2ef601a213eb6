"""A mate that gave weights is drawn in another way than one that gave variables alone."""

from __future__ import annotations

import matplotlib as mpl
import optuna
import pytest
from matplotlib import pyplot as plt

from epbt_optuna.visualization import plot_lineage
from epbt_optuna.visualization._figure_data.lineage import lineage_info
from epbt_optuna.visualization.matplotlib import plot_lineage as plot_in_matplotlib
from tests.lineage.studies import averaging
from tests.visualization.studies import eight_trials

mpl.use("Agg")

AVERAGED, CROSSED = "crossover and weights, from the mate", "crossover, from the mate"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> optuna.Study:
    return averaging(tmp_path_factory.mktemp("averaging"))


def test_each_mate_is_drawn_as_what_it_gave(study: optuna.Study) -> None:
    info = lineage_info(study)
    ends = {node.number: (node.generation, node.row) for node in info.nodes}
    assert [line[1] for line in info.averaging] == [ends[n] for n in (4, 6, 8, 10)]
    assert [line[1] for line in info.crossover] == [ends[n] for n in (5, 7, 9, 11)]
    assert [node.mate_weight for node in info.nodes] == [0.0] * 4 + [0.25, 0.0] * 4


def test_both_backends_draw_it_dashed_with_a_name_of_its_own(study: optuna.Study) -> None:
    figure = plot_lineage(study)
    dashes = {trace.name: trace.line.dash for trace in figure.data if trace.mode == "lines"}
    assert (dashes[AVERAGED], dashes[CROSSED]) == ("dash", "dot")
    axes = plot_in_matplotlib(study)
    labels = axes.get_legend_handles_labels()[1]
    assert AVERAGED in labels
    assert CROSSED in labels
    styles = [
        lines.get_linestyle()
        for lines in axes.collections
        if lines.get_label() in (AVERAGED, CROSSED)
    ]
    assert styles[0] != styles[1]
    plt.close("all")


def test_the_share_is_in_the_text_of_a_trial(study: optuna.Study) -> None:
    figure = plot_lineage(study)
    texts = [text for trace in figure.data for text in trace.text or ()]
    (averaged,) = (text for text in texts if "<b>trial 6</b>" in text)
    assert "(0.25 of the weights)" in averaged
    assert not any("of the weights" in text for text in texts if "<b>trial 5</b>" in text)


def test_without_averages_there_is_no_such_line() -> None:
    study = eight_trials()
    assert AVERAGED not in [trace.name for trace in plot_lineage(study).data]
    assert AVERAGED not in plot_in_matplotlib(study).get_legend_handles_labels()[1]
    plt.close("all")
