"""The accuracy figures show means with standard errors, the later half above."""

from __future__ import annotations

from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from examples.paper import figures
from examples.paper.figures import draw_accuracies
from examples.paper.outcome import Outcome, Point
from examples.paper.results import Result


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
