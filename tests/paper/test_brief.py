"""The short table of the README and the home page is that of the committed results."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.paper import ExperimentError
from examples.paper.brief import BEGIN, END, brief_table, difference, fill, points
from examples.paper.report import read_all
from examples.paper.statistics import Comparison
from tests.paper.made_up import arms_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_pages_show_the_committed_results(page: str, tmp_path: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    copy = tmp_path / "page.md"
    copy.write_text(text, encoding="utf-8")
    fill(copy, brief_table(read_all(ROOT / "docs" / "results")))
    assert copy.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("comparison", "said"),
    [
        (Comparison(1.26, 0.76, 1.76, 0.01, 10), "**+1.3 ± 0.5**"),
        (Comparison(-1.26, -1.76, -0.76, 0.01, 10), "**−1.3 ± 0.5**"),
        (Comparison(0.26, -0.04, 0.56, 0.09, 10), "+0.3 ± 0.3"),
        (Comparison(0.3, 0.001, 0.599, 0.04, 10), "**+0.3 ± 0.3**"),
        (Comparison(-0.03, -0.5, 0.44, 0.9, 10), "+0.0 ± 0.5"),
        (Comparison(1.0, 0.5, 1.5, 0.01, 5), "**+1.0 ± 0.5 (n = 5)**"),
    ],
)
def test_a_difference_is_bold_where_its_interval_leaves_out_zero(
    comparison: Comparison, said: str
) -> None:
    assert points(comparison).replace("\N{NO-BREAK SPACE}", " ") == said


def test_the_strongest_of_a_group_is_shown_once_all_of_it_have_run() -> None:
    arms = arms_of({"recommended-noisy": [3.0, 4.0], "tpe": [1.0, 2.1], "pbt-sgd": [2.0, 2.9]})
    assert difference({"digits-noisy": arms}, "digits-noisy", ("tpe", "pbt-sgd")).startswith("**+1")
    assert difference({"digits-noisy": arms}, "digits-noisy", ("tpe", "epbt")) == "–"


def test_only_what_is_between_the_marks_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    for _ in range(2):
        fill(page, "new")
        assert page.read_text(encoding="utf-8") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_a_page_without_the_marks_is_refused_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(ExperimentError, match=r"page\.md must have"):
        fill(page, "new")
    assert page.read_text(encoding="utf-8") == text
