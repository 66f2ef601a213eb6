"""Figures show what was compared: means with standard errors, and paired differences."""

from __future__ import annotations

from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from examples.paper import figures, forest
from examples.paper.configs import CONFIGS
from examples.paper.figures import draw_accuracies
from examples.paper.forest import draw_noises, draw_rivals, draw_sweeps
from examples.paper.outcome import Outcome, Point
from examples.paper.plan import SIX, planned
from examples.paper.results import Result
from examples.paper.rivals import RIVALS
from tests.paper.made_up import arms_of


def result_of(seed: int, tests: list[float]) -> Result:
    curve = [Point(epoch, None, test) for epoch, test in enumerate(tests)]
    return Result("epbt", seed, Outcome(curve, len(curve)), {}, {})


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two runs of one arm and one of another, over epochs 0 to 4."""
    saved: list[Figure] = []
    monkeypatch.setattr(figures, "save", lambda figure, _: saved.append(figure))
    ours = [result_of(0, [0.1, 0.2, 0.3, 0.5, 0.6]), result_of(1, [0.3, 0.4, 0.5, 0.7, 0.8])]
    draw_accuracies({"ours": ours, "theirs": [result_of(0, [0.5] * 5)]}, tmp_path / "a.svg")
    return saved[0]


def test_both_panels_show_the_means_and_the_bands_their_standard_errors(drawn: Any) -> None:
    error = 100 * sqrt(0.02) / sqrt(2)
    for axes in drawn.axes:
        ours, theirs = axes.lines
        assert list(ours.get_xdata()) == [0, 1, 2, 3, 4]
        assert list(ours.get_ydata()) == pytest.approx([20, 30, 40, 60, 70])
        assert list(theirs.get_ydata()) == [50] * 5
        edges = axes.collections[0].get_paths()[0].vertices[:, 1]
        assert (edges.min(), edges.max()) == pytest.approx((20 - error, 70 + error))
        assert set(axes.collections[1].get_paths()[0].vertices[:, 1]) == {50}  # a single run


def test_the_upper_panel_is_the_later_half_with_its_bands_and_framed_below(drawn: Any) -> None:
    zoomed, whole = drawn.axes
    assert zoomed.get_xlim() == pytest.approx((1.96, 4.04))
    low, high = 30, 80  # of the bands from epoch 2 on
    assert zoomed.get_ylim() == pytest.approx((low - 2.5, high + 2.5))
    (frame,) = whole.patches
    assert frame.get_bbox().bounds == pytest.approx((2, low - 2.5, 2, high - low + 5))


def test_the_legend_says_how_many_runs_there_are(drawn: Any) -> None:
    names = [text.get_text() for text in drawn.axes[0].get_legend().get_texts()]
    assert names == ["ours (n = 2)", "theirs (n = 1)"]


# The recommended settings beside their rivals


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    figures_saved: list[Any] = []
    monkeypatch.setattr(forest, "save", lambda figure, _: figures_saved.append(figure))
    return figures_saved


def marks(axes: Any) -> dict[int, Any]:
    """Return the marks of a panel by their row."""
    return {int(line.get_ydata()[0]): line for line in axes.lines if len(line.get_xdata()) == 1}


def test_each_rival_has_a_row_and_each_config_a_panel(tmp_path: Path, saved: list[Any]) -> None:
    rivals = {"epbt-paper": [79.0, 80.2], "selection-alone": [80.9, 81.0], "tpe": [82.0, 83.1]}
    ten = {"pbt-sgd": [79.0, 80.5] * 5}
    arms = arms_of({"recommended-clean": [80.0, 81.0] * 5, **rivals, **ten})
    draw_rivals({"digits-clean": arms}, tmp_path / "a.svg")
    panels = saved[0].axes
    assert [axes.get_title(loc="left") for axes in panels] == list(SIX)
    rows = {name: row for row, name in enumerate(RIVALS)}
    found = marks(panels[0])
    assert set(found) == {rows[name] for name in ("EPBT, paper's letter", "selection alone",
                                                  "PBT", "TPE")}  # fmt: skip
    assert found[rows["EPBT, paper's letter"]].get_xdata() == pytest.approx([0.9])
    assert found[rows["TPE"]].get_xdata() == pytest.approx([-2.05])
    assert found[rows["TPE"]].get_markerfacecolor() == "white"  # of two seeds
    assert found[rows["PBT"]].get_markerfacecolor() == found[rows["PBT"]].get_color()
    colours = [found[rows[name]].get_color() for name in ("PBT", "selection alone", "TPE")]
    assert len(set(colours)) == 3  # ahead, level and behind
    assert not marks(panels[1])
    assert [text.get_text() for text in panels[1].texts] == ["not run"] * len(RIVALS)


def test_evolved_losses_stand_beside_the_strongest_single_one(
    tmp_path: Path, saved: list[Any]
) -> None:
    arms = arms_of(
        {
            "recommended-noisy": [80.0, 81.0],
            "epbt-elr": [82.0, 83.1],
            "early-learning-ema": [81.0, 82.0],
            "symmetric-cross-entropy": [79.0, 80.0],
        }
    )
    draw_noises({"digits-instance": arms}, tmp_path / "a.svg")
    taylor, elr = saved[0].axes
    (row,) = marks(taylor)
    assert taylor.get_yticklabels()[row].get_text() == "digits-instance"
    assert marks(taylor)[row].get_xdata() == pytest.approx([-1.0])
    assert marks(elr)[row].get_xdata() == pytest.approx([1.05])
    assert [text.get_text() for text in elr.texts] == ["not run"] * 6


def test_what_lies_far_away_is_an_arrow_with_its_number(tmp_path: Path, saved: list[Any]) -> None:
    arms = arms_of({"recommended-clean": [80.0, 81.0], "tpe": [70.0, 71.2]})
    draw_rivals({"digits-clean": arms}, tmp_path / "a.svg")
    panel = saved[0].axes[0]
    assert not marks(panel)
    assert "+9.9 ▶" in [text.get_text() for text in panel.texts]
    assert panel.get_xlim()[1] < 4


def test_the_recommended_division_of_a_budget_is_at_zero(tmp_path: Path, saved: list[Any]) -> None:
    arms = arms_of({name: [80.0, 81.0] for name in planned("digits-noisy")})
    arms.update(arms_of({"sweep-noisy-p-8": [79.0, 80.1]}))
    draw_sweeps({"digits-noisy": arms}, tmp_path / "a.svg")
    sizes = saved[0].axes[0]
    drawn = {bars.get_label(): bars.lines[0] for bars in sizes.containers}
    line = drawn["digits-noisy"]
    assert list(line.get_xdata()) == [8, 16, 21, 32]
    assert list(line.get_ydata()) == pytest.approx([-0.95, 0, 0, 0])
    assert CONFIGS["digits-noisy"].population_size_with(0.5, train_elites=True) == 21
    assert "digits-clean" not in drawn  # nothing was run
