"""What a tracker shows, and how little it keeps and draws."""

from __future__ import annotations

import io
import logging
import pickle
import subprocess
import sys
from typing import Any

import optuna
import pytest
from tqdm import tqdm

from epbt_optuna.tracking import MLflowTracker, parent, worker
from tests.tracking.checks import check, parents_of
from tests.tracking.training import make_study, run


def test_the_log_says_where_to_look_at_the_start_and_at_the_end_and_close_shows_progress(
    database: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO()

    def bar(**options: Any) -> tqdm:
        return tqdm(**options | {"disable": False, "file": terminal})

    monkeypatch.setattr(worker, "tqdm", bar)
    study = make_study()
    tracker = MLflowTracker(database, pictures_every=0)
    assert tracker.run_id is None
    with caplog.at_level(logging.INFO, "optuna.epbt_optuna"):
        run(study, tracker, 6)
        tracker.close()
    assert "of 6 trials to MLflow" in terminal.getvalue()
    (study_run,) = parents_of(database)
    address = (
        f"`mlflow ui --backend-store-uri {database}`, experiment 1, run {study_run.info.run_id}"
    )
    lines = [r.getMessage() for r in caplog.records if r.name == "optuna.epbt_optuna.tracking"]
    assert lines == [
        f"'a study' is brought to MLflow: {address}",
        f"6 trials of 'a study' are in MLflow: {address}",
    ]
    assert (tracker.run_id, tracker.url) == (study_run.info.run_id, None)


def test_a_program_without_a_standard_error_stream_is_no_failure(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study()
    tracker = MLflowTracker(database, pictures_every=0)
    run(study, tracker, 1)
    monkeypatch.setattr(sys, "stderr", None)
    tracker.close()
    check(study, database, 1)


def test_pictures_are_not_drawn_again_before_their_time_but_always_at_the_end(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parent, "_PAUSE", 1e9)
    drawn: list[int] = []
    monkeypatch.setattr(
        parent, "write_artifacts", lambda study, *_, **__: drawn.append(len(study.trials))
    )
    monkeypatch.setattr(worker, "_REST_SHARE", 0.0)
    study = make_study()
    with MLflowTracker(database, pictures_every=1) as tracker:
        run(study, tracker, 18)
    assert 1 <= len(drawn) <= 2
    assert drawn[-1] == 18


def test_what_it_remembers_of_a_trial_is_the_run_and_nothing_of_its_content(database: str) -> None:
    study = make_study()
    tracker = MLflowTracker(database, pictures_every=0)
    run(study, tracker, 12)
    (started,) = tracker._started
    tracker.close()
    children = started._delivery._children
    assert sorted(children) == list(range(12))
    assert all(len(pickle.dumps(child)) < 400 for child in children.values())
    check(study, database, 12)


def test_the_package_can_be_imported_without_mlflow() -> None:
    program = "import sys; sys.modules['mlflow'] = None; import epbt_optuna.tracking"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_study_that_no_sampler_of_ours_breeds_in_has_one_thread_from_its_first_trial_on(
    database: str,
) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    tracker = MLflowTracker(database, pictures_every=0)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=5, callbacks=[tracker])
    assert len(tracker._started) == 1
    tracker.close()
    assert len(parents_of(database, study.study_name)) == 1
