"""What people see: MLflow's own pages, in a real browser.

`EPBT_PICTURES=docs/pictures pytest tests/tracking/test_in_a_browser.py` renews the pictures of the
documentation.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from mlflow.entities import Run
from playwright.sync_api import Page, expect

from epbt_optuna.tracking import MLflowTracker
from tests.browser import browser_page
from tests.tracking.checks import children_of, experiment_id, parents_of
from tests.tracking.training import make_study, run

_EXPERIMENT = "digits"


@pytest.fixture(scope="module")
def tracker(server: str) -> MLflowTracker:
    """The tracker of a study of five generations."""
    with MLflowTracker(server, experiment=_EXPERIMENT) as tracker:
        run(make_study(), tracker, 18)
    return tracker


@pytest.fixture
def tracked(tracker: MLflowTracker, server: str) -> str:
    """The server, with that study."""
    assert tracker.url is not None
    assert tracker.url.startswith(server)
    return server


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """One for all: what it has once loaded of MLflow, it keeps."""
    with browser_page(1200, 760) as page:
        yield page


def open_page(page: Page, uri: str, path: str) -> None:
    page.goto(f"{uri}/#/experiments/{experiment_id(uri, _EXPERIMENT)}/{path}")


def keep(page: Page, name: str) -> None:
    """Keep a picture of the page, if that is wanted."""
    if "EPBT_PICTURES" in os.environ:
        page.get_by_role("button", name="Close", exact=True).click()  # the assistant: no part of it
        page.wait_for_timeout(3000)  # until what moves has come to rest
        page.screenshot(path=Path(os.environ["EPBT_PICTURES"]) / f"mlflow-{name}.png")


def test_the_runs_table_shows_the_trials_of_one_generation(tracked: str, page: Page) -> None:
    search = quote("tags.`epbt.generation` = '3'")
    open_page(page, tracked, f"runs?searchFilter={search}")
    row = page.get_by_role("gridcell").filter(has=page.get_by_role("link", name="a study"))
    row.get_by_role("button").click()
    for number in range(18):
        link = page.get_by_role("link", name=f"trial {number}", exact=True)
        expect(link).to_have_count(1 if number in (12, 13, 14) else 0)
    keep(page, "generation")


def test_the_tracker_s_address_is_one_click_from_the_winner_and_from_its_schedule(
    tracker: MLflowTracker, tracked: str, page: Page
) -> None:
    (parent,) = parents_of(tracked, _EXPERIMENT)
    winner = parent.data.tags["epbt.winner_trial"]
    page.goto(tracker.url or "")
    with page.expect_popup() as popup:
        page.get_by_role("link", name=f"Trial {winner}", exact=True).click()
    expect(popup.value.get_by_role("heading", name=f"trial {winner}")).to_be_visible()
    page.get_by_role("tab", name="Model metrics").click()
    expect(page.get_by_text(f"schedule of trial {winner}", exact=True).first).to_be_visible()
    keep(page, "schedule")


def test_the_page_of_a_trial_shows_whom_it_descends_from(tracked: str, page: Page) -> None:
    children = children_of(tracked, _EXPERIMENT)
    child = children[13]
    open_page(page, tracked, f"runs/{child.info.run_id}")
    parent = child.data.tags["epbt.parent_trial"]
    expect(page.get_by_text(f"epbt.parent_trial: {parent}")).to_be_visible()
    parent_run: Run = children[int(parent)]
    expect(page.get_by_text(f": {parent_run.info.run_id[:12]}")).to_be_visible()
    expect(page.get_by_role("link", name="a study")).to_be_visible()
    keep(page, "child")


def test_the_lineage_opens_from_the_artifacts_of_the_study(tracked: str, page: Page) -> None:
    (parent,) = parents_of(tracked, _EXPERIMENT)
    open_page(page, tracked, f"runs/{parent.info.run_id}/artifacts")
    page.get_by_text("lineage.html").click()
    picture = page.frame_locator("iframe")
    expect(picture.get_by_text("Lineage of a study: 18 trials")).to_be_visible()
    expect(picture.get_by_text("generation", exact=True)).to_be_visible()
    keep(page, "lineage")
