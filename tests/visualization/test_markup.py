"""Names with what plotly or matplotlib take for markup are shown letter by letter."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import optuna
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.text import Text
from optuna.distributions import FloatDistribution

import epbt_optuna.visualization as plotly_pictures
import epbt_optuna.visualization.matplotlib as matplotlib_pictures
from epbt_optuna import EPBTSampler
from epbt_optuna._internal.text import printable
from epbt_optuna.lineage import Schedule, ScheduleStep
from tests.browser import browser_page

mpl.use("Agg")

NAMES = [
    "$x$",
    r"$\frac{$",
    r"\$5",
    "cost in $",
    "a_b^c",
    "<b>bold</b>",
    "a<br>b",
    '<a href="javascript:alert(1)">x</a>',
    "R&D &lt; &#36;",
    "\"quoted\" 'too'",
    "{x} %{y} %s",
    "two\nlines",
    "\x1b[31mred\x07",
    "\u202egnirts",
    "\ud800",
    "</script><script>alert(1)</script>",
    "_hidden",
    "_",
]


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def study_named(name: str) -> optuna.Study:
    """Return a study with this name, for a variable and for a category too."""
    study = optuna.create_study(
        study_name=name, direction="maximize", sampler=EPBTSampler(4, seed=0)
    )

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_categorical("category", [name, "other"])
        return trial.suggest_float(name, 0, 1)

    study.enqueue_trial({name: 1.0, "category": name})
    study.optimize(objective, n_trials=6)
    return study


def losses_named(name: str) -> dict[str, Schedule]:
    theta = {f"theta_{i}": float(i) for i in range(8)}
    distributions = dict.fromkeys(theta, FloatDistribution(-10, 10))
    return {name: Schedule(name, distributions, (ScheduleStep(0, 0, 1, theta),))}


def pictures(name: str, backend: Any) -> dict[str, Any]:
    study = study_named(name)
    return {
        "lineage": backend.plot_lineage(study),
        "generations": backend.plot_generations(study),
        "schedule": backend.plot_schedule(study),
        "losses": backend.plot_loss_functions(losses_named(name)),
    }


# How often the name is in each picture: as the study's, a variable's, and a category.
COUNTS = {"lineage": 1, "generations": 1, "schedule": 3, "losses": 1}


def texts_in(document: Any) -> Iterator[str]:
    """Yield all texts in a plotly figure's JSON that are no setting of ours."""
    if isinstance(document, dict):
        document = [v for k, v in document.items() if k not in ("template", "hovertemplate")]
    if isinstance(document, list):
        for item in document:
            yield from texts_in(item)
    elif isinstance(document, str):
        yield document


@pytest.mark.parametrize("name", NAMES)
def test_plotly_is_given_no_tag_entity_or_formula(name: str) -> None:
    for what, figure in pictures(name, plotly_pictures).items():
        texts = [text.replace("<br>", "\n") for text in texts_in(json.loads(figure.to_json()))]
        texts = [
            re.sub("<b>(trial [0-9]+)</b>", r"\1", text) for text in texts
        ]  # ours, on hovering
        assert not any(c in text for text in texts for c in "$<>\x1b\u202e\ud800")
        # plotly knows these entities, and those with numbers, alone
        assert {e for text in texts for e in re.findall("&([^;]*);", text)} <= {
            "lt",
            "gt",
            "amp",
            "#36",
        }
        shown = [html.unescape(text) for text in texts]
        assert sum(printable(name) in text for text in shown) >= COUNTS[what]
        assert figure.to_html(include_plotlyjs=False).encode()


@pytest.mark.parametrize("name", NAMES)
def test_matplotlib_draws_no_formula(name: str, tmp_path: Path) -> None:
    for what, axes in pictures(name, matplotlib_pictures).items():
        figure = axes.figure if hasattr(axes, "figure") else axes.flat[0].figure
        assert isinstance(figure, Figure)
        figure.savefig(tmp_path / "picture.svg")
        drawn = figure.findobj(Text)
        shown = [text.get_text() for text in drawn]
        assert not any(mpl.cbook.is_math_text(text) for text in shown)
        shown = [text.replace(r"\$", "$") for text in shown]  # as matplotlib does
        part = printable(name)[:11]  # of a category that is too long
        assert sum(part in text for text in shown) >= COUNTS[what]


def test_a_long_name_leaves_room_for_the_picture(tmp_path: Path) -> None:
    name = "n" * 500
    for axes in pictures(name, matplotlib_pictures).values():
        figure = axes.figure if hasattr(axes, "figure") else axes.flat[0].figure
        figure.savefig(tmp_path / "picture.png")  # where there is no room, that is a warning
    assert len(plotly_pictures.plot_lineage(study_named(name)).layout.title.text) < 120


def test_a_browser_shows_the_names_as_they_are(tmp_path: Path) -> None:
    name = "$x$ <b>b</b> &lt; \"q\" 'q' a_b^2\n"
    plotly_pictures.plot_schedule(study_named(name)).write_html(tmp_path / "picture.html")
    with browser_page(900, 700) as page:
        page.goto((tmp_path / "picture.html").as_uri())
        page.locator(".gtitle").wait_for()
        title = page.locator(".gtitle").text_content()
        assert title == f"Schedule of {printable(name)}: 1 trial along the ancestry"
        panels = page.locator(".annotation-text").all_text_contents()
        assert panels == [printable(name), "category"]
        ticks = (
            page.locator(".ytick").all_text_contents() + page.locator(".y2tick").all_text_contents()
        )
        assert "$x$ <b>b</b…" in ticks
