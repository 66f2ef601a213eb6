"""Both backends draw every kind of study, and import nothing before they draw."""

from __future__ import annotations

import importlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from optuna import Study
from optuna.distributions import CategoricalDistribution, FloatDistribution

import epbt_optuna.visualization as plotly_pictures
import epbt_optuna.visualization.matplotlib as matplotlib_pictures
from epbt_optuna import EPBTSampler
from epbt_optuna.lineage import Schedule, ScheduleStep
from epbt_optuna.visualization._figure_data.lineage import lineage_info
from tests.lineage.studies import evolve
from tests.visualization.studies import STUDIES, eight_trials, study_of, theta_study

mpl.use("Agg")

WITHOUT_BEST = {"one failed trial", "one running trial", "only failed and pruned"}


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def first_axes(drawn: Any) -> Axes:
    axes = drawn if isinstance(drawn, Axes) else drawn.flat[0]
    assert isinstance(axes, Axes)
    return axes


def render(drawn: Any) -> None:
    """Draw for real; drawing is where matplotlib finds out what it cannot draw."""
    image = io.BytesIO()
    figure = first_axes(drawn).figure
    assert isinstance(figure, Figure)
    figure.savefig(image, dpi=40)
    assert image.getvalue().startswith(b"\x89PNG")


def labels_of(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def names_of(figure: Any) -> list[str]:
    return [trace.name for trace in figure.data]


@pytest.mark.parametrize("name", ["plot_lineage", "plot_generations", "plot_schedule"])
@pytest.mark.parametrize("kind", STUDIES)
def test_every_kind_of_study_is_drawn_by_both_backends_or_refused_by_both(
    kind: str, name: str
) -> None:
    study = STUDIES[kind]()
    on_plotly = getattr(plotly_pictures, name)
    on_matplotlib = getattr(matplotlib_pictures, name)
    if name == "plot_schedule" and kind in WITHOUT_BEST:
        for plot in (on_plotly, on_matplotlib):
            with pytest.raises(ValueError, match="no best trial"):
                plot(study)
        return
    figure = on_plotly(study)
    assert json.loads(figure.to_json())["data"]
    assert "a &lt;b&gt; study" in figure.layout.title.text
    render(on_matplotlib(study))


@pytest.mark.parametrize(("n_runs", "scaled"), [(1, False), (5, True)])
def test_losses_are_drawn_by_both_backends_with_cross_entropy_beside_them(
    n_runs: int, scaled: bool
) -> None:
    study = theta_study()
    source = {f"run {i}": study for i in range(n_runs)}
    n_losses = n_runs * len(Schedule.from_study(study))
    figure = plotly_pictures.plot_loss_functions(source, scaled=scaled)
    assert len(figure.data) == n_losses + 2  # cross-entropy, and the scale of the colours
    titles = [annotation.text for annotation in figure.layout.annotations]
    assert titles == [*source, "cross-entropy"]
    drawn = matplotlib_pictures.plot_loss_functions(source, scaled=scaled)
    assert sum(len(axes.lines) for axes in drawn) == n_losses + 1
    assert [axes.get_title() for axes in drawn] == titles
    render(drawn)


def test_a_loss_of_one_founder_is_drawn() -> None:
    study = theta_study(1, reports=0)
    assert plotly_pictures.plot_loss_functions(study).to_json()
    render(matplotlib_pictures.plot_loss_functions(study))


def test_light_is_the_last_loss_that_trained() -> None:
    study = theta_study(12)
    figure = plotly_pictures.plot_loss_functions(study)
    brightness = [
        sum(int(channel) for channel in trace.line.color[4:-1].split(","))
        for trace in figure.data[:-2]
    ]
    assert len(set(brightness)) > 1
    assert brightness == sorted(brightness)
    lines = matplotlib_pictures.plot_loss_functions(study)[0].lines
    assert [sum(line.get_color()[:3]) for line in lines] == pytest.approx(
        [channels / 255 for channels in brightness], abs=0.05
    )


@pytest.mark.parametrize(
    ("n_generations", "n_ticks"), [(1, 1), (2, 2), (26, 26), (27, 14), (200, 20)]
)
def test_generations_have_a_tick_each_or_round_ones(n_generations: int, n_ticks: int) -> None:
    study = study_of("CC" + "C" * (n_generations - 1), sampler=EPBTSampler(2, n_elites=1))
    generations = matplotlib_pictures.plot_generations(study)[-1]
    for axes in (generations, matplotlib_pictures.plot_lineage(study)):
        left, right = axes.get_xlim()
        ticks = [tick for tick in axes.get_xticks() if left <= tick <= right]
        assert ticks == list(range(0, n_generations, -(-n_generations // n_ticks)))
    for figure in (plotly_pictures.plot_generations(study), plotly_pictures.plot_lineage(study)):
        assert figure.layout.xaxis.dtick == (1 if n_generations <= 26 else None)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1e-3, 1.0, ["0.001", "0.01", "0.1", "1"]),
        (20, 500, ["20", "50", "100", "200", "500"]),
        (2.1, 4.7, ["2.5", "3", "3.5", "4", "4.5"]),
    ],
)
def test_a_logarithmic_axis_has_round_ticks(low: float, high: float, expected: list[str]) -> None:
    distributions = {"x": FloatDistribution(low, high, log=True)}
    one = Schedule("one", distributions, (ScheduleStep(0, 0, 1, {"x": low}),))
    (axes,) = matplotlib_pictures.plot_schedule(one)
    render(axes)
    bottom, top = axes.get_ylim()
    labels = [
        label.get_text()
        for label in axes.get_yticklabels()
        if bottom <= label.get_position()[1] <= top
    ]
    assert labels == expected


def test_both_backends_leave_the_same_gap_where_a_variable_is_not() -> None:
    kinds = ["a", None, "b", "b", None]
    steps = tuple(
        ScheduleStep(n, n, 2, {} if kind is None else {"kind": kind, "x": 0.1 * n})
        for n, kind in enumerate(kinds)
    )
    distributions = {"kind": CategoricalDistribution(["a", "b"]), "x": FloatDistribution(0, 1)}
    source = Schedule("conditional", distributions, steps)
    expected = [[(0, 0), (2, 0)], [(4, 1), (6, 1), (6, 1), (8, 1)]]
    figure = plotly_pictures.plot_schedule(source)
    trace = figure.data[0]
    line = list(zip(trace.x, trace.y, strict=True))
    assert [
        list(g) for is_gap, g in groupby(line, lambda p: p[1] is None) if not is_gap
    ] == expected
    assert trace.line.shape in (None, "linear")
    assert not trace.connectgaps
    axes = matplotlib_pictures.plot_schedule(source)[0]
    line, dots = axes.lines
    assert axes.get_xlim() == figure.layout.xaxis.range == (-0.5, 10.5)
    drawn = groupby(line.get_xydata(), lambda p: bool(np.isnan(p[1])))
    assert [[tuple(p) for p in g] for is_gap, g in drawn if not is_gap] == expected
    assert [tuple(p) for p in dots.get_xydata() if p[1] == p[1]] == [(0, 0), (4, 1), (6, 1)]


def test_the_twins_return_axes_as_they_say() -> None:
    study = theta_study()
    assert isinstance(matplotlib_pictures.plot_lineage(study), Axes)
    for function, n_panels in (
        (matplotlib_pictures.plot_generations, 3),
        (matplotlib_pictures.plot_schedule, 8),
        (matplotlib_pictures.plot_loss_functions, 2),
    ):
        panels = function(study)
        assert isinstance(panels, np.ndarray)
        assert panels.shape == (n_panels,)
        assert all(isinstance(axes, Axes) for axes in panels)


def test_plotly_draws_each_kind_of_line_as_one_trace() -> None:
    figure = plotly_pictures.plot_lineage(eight_trials())
    assert names_of(figure) == [
        "crossover, from the mate",
        "weights, from the parent",
        "survives as an elite",
        "ancestry of the best",
        "pruned (1)",
        "failed (1)",
        "unfinished (1)",
        "complete (5)",
        "best trial",
    ]
    info = lineage_info(eight_trials())
    weights = figure.data[1]
    segments = [
        [(weights.x[i], weights.y[i]), (weights.x[i + 1], weights.y[i + 1])]
        for i in range(0, len(weights.x), 3)
    ]
    assert segments == info.inheritance
    assert weights.x[2] is None


def test_matplotlib_draws_the_same_lines() -> None:
    info = lineage_info(eight_trials())
    axes = matplotlib_pictures.plot_lineage(eight_trials())
    drawn = [c for c in axes.collections if isinstance(c, LineCollection)]
    expected = [info.crossover, info.inheritance, info.survival, [info.best_ancestry]]
    assert len(drawn) == len(expected)
    for collection, lines in zip(drawn, expected, strict=True):
        for segment, line in zip(collection.get_segments(), lines, strict=True):
            np.testing.assert_array_equal(segment, line)


@pytest.mark.parametrize(("n_trials", "shown"), [(150, True), (151, False)])
def test_of_many_trials_lines_from_mates_are_hidden(n_trials: int, shown: bool) -> None:
    study = study_of("C" * n_trials, sampler=EPBTSampler(50, seed=0))
    figure = plotly_pictures.plot_lineage(study)
    assert figure.data[0].name == "crossover, from the mate"
    assert figure.data[0].visible == (True if shown else "legendonly")
    axes = matplotlib_pictures.plot_lineage(study)
    labels = labels_of(axes)
    assert ("crossover, from the mate" in labels) == shown


def test_both_backends_colour_by_founder() -> None:
    study = eight_trials()
    info = lineage_info(study)
    expected = {clade.name: clade.colour for clade in info.clades}
    figure = plotly_pictures.plot_lineage(study, color_by="founder")
    points = [t for t in figure.data if t.name in expected and t.mode == "markers"]
    assert {trace.name: trace.marker.color for trace in points} == expected
    axes = matplotlib_pictures.plot_lineage(study, color_by="founder")
    drawn = {line.get_label(): line.get_markerfacecolor() for line in axes.lines}
    assert {name: drawn[name] for name in expected} == expected
    shown = labels_of(axes)
    assert shown == [*expected, "ancestry of the best", *shown[-4:]]
    assert names_of(figure)[-5:] == shown[-5:]


@pytest.mark.parametrize("backend", [plotly_pictures, matplotlib_pictures])
def test_another_way_to_colour_is_an_error(backend: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"`color_by` must be one of .* but got 'species'"):
        backend.plot_lineage(eight_trials(), color_by="species")


def test_hovering_says_who_a_trial_is() -> None:
    figure = plotly_pictures.plot_lineage(eight_trials())
    (text,) = figure.data[-1].text
    node = lineage_info(eight_trials()).nodes[6]
    for part in (
        "<b>trial 6</b>, generation 2, complete",
        "value: 6",
        f"parent: trial {node.parent}, mate: trial {node.mate}",
        f"width: {node.params['width']}",
        f"lr: {node.params['lr']:.4g}",
    ):
        assert part in text


@pytest.mark.parametrize(("direction", "reverse"), [("maximize", False), ("minimize", True)])
def test_light_is_the_fittest_in_both_directions(direction: str, reverse: bool) -> None:
    study = STUDIES["minimising" if reverse else "every state"]()
    assert study.direction.name.lower() == direction
    complete = next(
        trace
        for trace in plotly_pictures.plot_lineage(study).data
        if trace.name.startswith("complete")
    )
    assert complete.marker.reversescale == reverse
    axes = matplotlib_pictures.plot_lineage(study)
    assert axes.collections[-1].get_cmap().name == ("viridis_r" if reverse else "viridis")


def test_matplotlib_draws_into_a_figure_that_is_given_and_opens_no_other() -> None:
    figure = Figure(figsize=(9, 6), layout="constrained")
    drawn = matplotlib_pictures.plot_generations(eight_trials(), figure=figure)
    assert all(axes.figure is figure for axes in drawn)
    half = Figure(layout="constrained").add_subfigure(GridSpec(1, 2)[0])
    assert matplotlib_pictures.plot_lineage(eight_trials(), figure=half).figure is half
    assert plt.get_fignums() == []


def test_drawing_changes_no_setting_of_matplotlib() -> None:
    before = dict(mpl.rcParams)
    matplotlib_pictures.plot_lineage(eight_trials())
    assert dict(mpl.rcParams) == before


def test_both_backends_have_the_same_names() -> None:
    names = set(plotly_pictures.__all__) - {"matplotlib"}
    assert names == set(matplotlib_pictures.__all__)


def test_nothing_that_plots_or_trains_is_imported_before_something_is_drawn() -> None:
    script = (
        "import sys, epbt_optuna.visualization, epbt_optuna.visualization.matplotlib\n"
        "print(sorted({'matplotlib', 'plotly', 'torch', 'pandas', 'networkx'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("package", "plot"),
    [
        ("plotly", plotly_pictures.plot_lineage),
        ("matplotlib", matplotlib_pictures.plot_lineage),
    ],
)
def test_a_package_that_is_missing_is_an_error_that_names_the_extra(
    package: str, plot: Callable[[Study], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = eight_trials()

    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name.split(".")[0])

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImportError, match=rf"{package}.*'epbt-optuna\[visualization\]'"):
        plot(study)


@pytest.mark.parametrize("color_by", ["fitness", "founder"])
def test_in_the_legend_points_of_a_large_study_are_as_large_as_those_of_a_small_one(
    color_by: Any,
) -> None:
    for n_trials, itemsizing in ((8, "trace"), (250, "constant")):
        study = evolve(EPBTSampler(n_trials, seed=0), n_trials=n_trials)
        figure = plotly_pictures.plot_lineage(study, color_by=color_by)
        assert figure.layout.legend.itemsizing == itemsizing
        legend: Any = matplotlib_pictures.plot_lineage(study, color_by=color_by).get_legend()
        handles = [h for h in legend.legend_handles if not isinstance(h, LineCollection)]
        sizes = [
            *(float(h.get_sizes()[0]) ** 0.5 for h in handles if hasattr(h, "get_sizes")),
            *(
                h.get_markersize()
                for h in handles
                if getattr(h, "get_marker", str)() in list("o+x")
            ),
        ]
        assert len(sizes) >= 3
        assert set(sizes) == {6.0}
