"""`save_to_dashboard`, looked at in a browser on a real optuna-dashboard."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import optuna
import optuna_dashboard
import pytest
from optuna.storages import BaseStorage, InMemoryStorage
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects

from epbt_optuna import EPBTSampler
from epbt_optuna._internal.optuna import read_study_attrs, study_id_of
from epbt_optuna.tracking.dashboard import save_to_dashboard
from tests.browser import browser_page


def train(n_generations: int) -> tuple[BaseStorage, optuna.Study]:
    storage, sampler = InMemoryStorage(), EPBTSampler(4, seed=0)
    study = optuna.create_study(
        study_name="a|b", storage=storage, sampler=sampler, direction="maximize"
    )
    study.optimize(lambda t: t.suggest_float("x|_y_", 0, 1), sampler.n_trials(n_generations))
    return storage, study


def plots_of(study: optuna.Study) -> dict[str, str]:
    plots: dict[str, str] = get_plotly_graph_objects(read_study_attrs(study))
    return plots


def test_repeated_calls_replace_the_pictures_and_our_part_of_the_note() -> None:
    _, study = train(3)
    optuna_dashboard.save_note(study, "My own words.\n\n")
    save_to_dashboard(study)
    first = optuna_dashboard.get_note(study)
    save_to_dashboard(study)
    assert optuna_dashboard.get_note(study) == first
    assert first.startswith("My own words.\n\n## Population\n\n- direction: maximize\n")
    study.optimize(lambda t: t.suggest_float("x|_y_", 0, 1), 2)
    save_to_dashboard(study)
    assert optuna_dashboard.get_note(study).count("## Population") == 1
    assert optuna_dashboard.get_note(study) != first
    assert set(plots_of(study)) == {"epbt-lineage", "epbt-schedule"}
    assert "10 trials" in plots_of(study)["epbt-lineage"]
    assert "along the ancestry" in plots_of(study)["epbt-schedule"]


def test_without_a_best_trial_there_is_no_schedule() -> None:
    study = optuna.create_study(sampler=EPBTSampler(4, seed=0))
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    save_to_dashboard(study)
    assert list(plots_of(study)) == ["epbt-lineage"]


def test_the_note_has_a_row_for_each_generation() -> None:
    _, study = train(3)
    save_to_dashboard(study)
    table = optuna_dashboard.get_note(study).split("\n\n")[-1].splitlines()
    assert table[0].split(" | ")[0] == "| gen"
    assert [line.split(" | ")[0] for line in table[2:]] == ["| 0", "| 1", "| 2"]


def test_a_study_that_we_did_not_run_is_refused_before_anything_is_written() -> None:
    study = optuna.create_study()
    study.optimize(lambda t: t.suggest_float("x", 0, 1), 2)
    before = dict(read_study_attrs(study))
    with pytest.raises(ValueError, match="neither EPBTSampler nor PBTSampler"):
        save_to_dashboard(study)
    assert read_study_attrs(study) == before


@pytest.mark.parametrize("package", ["optuna_dashboard", "plotly"])
def test_a_package_that_is_not_installed_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    _, study = train(1)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"needs {package}.*epbt-optuna\[dashboard\]"):
        save_to_dashboard(study)


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def dashboard(storage: BaseStorage) -> Iterator[str]:
    """Serve optuna-dashboard, and yield its address."""
    application = optuna_dashboard.wsgi(storage)
    with make_server("127.0.0.1", 0, application, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/dashboard"
        finally:
            server.shutdown()
            thread.join()


def test_the_note_and_the_pictures_are_on_the_studys_page() -> None:
    storage, study = train(3)
    save_to_dashboard(study)
    with dashboard(storage) as address, browser_page(1400, 1600) as page:
        page.goto(f"{address}/studies/{study_id_of(study)}")
        page.get_by_text("Lineage of").first.wait_for()
        page.get_by_text("Schedule of").first.wait_for()
        assert "8 trials" in (page.get_by_text("Lineage of").first.text_content() or "")
        page.goto(f"{address}/studies/{study_id_of(study)}/note")
        page.get_by_role("heading", name="Population").wait_for()
        assert "4 individuals, 2 of them elites" in page.inner_text("body")
        assert "x|_y_=" in page.inner_text("body")
        assert page.locator("tbody tr").count() == 3
