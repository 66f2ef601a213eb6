"""What people see: MLflow's own pages, in a real browser, as the documentation says to use them.

`EPBT_PICTURES=docs/pictures pytest tests/tracking/test_in_a_browser.py` renews the pictures of the
documentation.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from epbt_optuna.tracking import MLflowTracker
from tests.browser import browser_page
from tests.tracking.checks import children_of, parents_of
from tests.tracking.digits import NAME, run_digits

_COUNT_CLICKS = "window.clicks = 0; addEventListener('click', () => window.clicks++, true)"


@pytest.fixture(scope="module")
def tracker(server: str, tmp_path_factory: pytest.TempPathFactory) -> MLflowTracker:
    """The tracker of a study of six generations, which is on a server."""
    tracker = MLflowTracker(server)
    run_digits(tracker, tmp_path_factory.mktemp("checkpoints"))
    return tracker


@pytest.fixture
def page() -> Iterator[Page]:
    """A page that counts clicks, since it was loaded."""
    with browser_page(1200, 760) as page:
        page.add_init_script(_COUNT_CLICKS)
        yield page


def open_study(page: Page, tracker: MLflowTracker) -> None:
    """Open `tracker.url`, without what is no part of the page."""
    page.goto(tracker.url or "")
    page.get_by_role("button", name="Close", exact=True).click()  # MLflow's assistant
    page.evaluate("window.clicks = 0")


def clicks(page: Page) -> int:
    """Return how many clicks the page has seen."""
    return int(page.evaluate("window.clicks"))


def toggle_columns(page: Page, *names: str) -> None:
    """Tick columns of the runs table, or take their ticks off."""
    page.get_by_role("button", name="Columns").click()
    for name in names:
        page.get_by_placeholder("Search columns").fill(name)
        row = page.locator("[class*=tree-treenode]", has_text=re.compile(f"^{re.escape(name)}$"))
        row.locator("[class*=tree-checkbox]").first.click()
    page.keyboard.press("Escape")


def keep(page: Page, name: str) -> None:
    """Keep a picture of the page, if that is wanted."""
    if "EPBT_PICTURES" in os.environ:
        page.wait_for_timeout(3000)  # until what moves has come to rest
        path = Path(os.environ["EPBT_PICTURES"]) / f"mlflow-{name}.png"
        page.screenshot(path=path)
        Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)


def test_runs_trials_and_columns_are_where_the_documentation_says(
    tracker: MLflowTracker, server: str, page: Page
) -> None:
    assert (tracker.url or "").startswith(server)
    page.goto(server)
    page.get_by_role("button", name="Close", exact=True).click()
    page.get_by_role("link", name=NAME, exact=True).click()
    page.get_by_role("button", name="Got it").click()  # a hint that hides all else
    page.get_by_text("Model training", exact=True).click()
    row = page.get_by_role("gridcell").filter(has=page.get_by_role("link", name=NAME))
    row.get_by_role("button").click()
    expect(page.get_by_role("link", name="trial 27", exact=True)).to_be_visible()
    toggle_columns(page, "Dataset", "Source", "Models", "fitness", "lr", "epbt.parent_trial")
    for name in ("fitness", "lr", "epbt.parent_trial"):
        expect(page.get_by_role("columnheader", name=name, exact=True).first).to_be_visible()
    expect(page.get_by_role("columnheader", name="Dataset")).to_have_count(0)
    fitness = children_of(server, NAME)[27].data.metrics["fitness"]
    expect(page.get_by_role("gridcell", name=f"{fitness:.3f}"[:5]).first).to_be_visible()
    keep(page, "runs")

    search = page.get_by_placeholder("metrics.rmse")
    search.fill("tags.`epbt.generation` = '3'")
    search.press("Enter")
    expect(page.get_by_role("link", name="trial 27", exact=True)).to_have_count(0)
    for number in (16, 17, 18, 19):
        expect(page.get_by_role("link", name=f"trial {number}", exact=True)).to_be_visible()


def test_the_tracker_s_address_is_one_click_from_the_winner_and_from_its_schedule(
    tracker: MLflowTracker, server: str, page: Page
) -> None:
    (study,) = parents_of(server, NAME)
    winner = study.data.tags["epbt.winner_trial"]
    parent = children_of(server, NAME)[int(winner)].data.tags["epbt.parent_trial"]
    open_study(page, tracker)
    with page.expect_popup() as popup:
        page.get_by_role("link", name=f"Trial {winner}", exact=True).click()
    assert clicks(page) == 1
    keep(page, "study")
    child = popup.value
    expect(child.get_by_role("heading", name=f"trial {winner}")).to_be_visible()
    expect(child.get_by_text(f"epbt.parent_trial: {parent}")).to_be_visible()
    expect(child.get_by_text("Runs", exact=True).first).to_be_visible()  # not GenAI's "Evaluations"
    with child.expect_popup() as popup:
        child.get_by_role("link", name=f"trial {parent}", exact=True).click()
    expect(popup.value.get_by_role("heading", name=f"trial {parent}")).to_be_visible()
    keep(child, "child")

    page.get_by_role("tab", name="Model metrics").click()
    expect(page.get_by_text(f"schedule of trial {winner}", exact=True).first).to_be_visible()
    assert clicks(page) == 2  # this one, and the one above
    keep(page, "schedule")


def test_the_lineage_opens_from_the_artifacts_of_the_study(
    tracker: MLflowTracker, page: Page
) -> None:
    open_study(page, tracker)
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("lineage.html").click()
    assert clicks(page) == 2
    picture = page.frame_locator("iframe")
    expect(picture.get_by_text("Lineage of digits: 28 trials")).to_be_visible()
    expect(picture.get_by_text("generation", exact=True)).to_be_visible()
    keep(page, "lineage")
