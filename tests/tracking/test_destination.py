"""Where a tracker delivers to, what is said of it, and what of MLflow's it leaves as it was."""

from __future__ import annotations

import logging
import os
import shutil
import time
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient

from epbt_optuna.tracking import MLflowTracker, TrackingError, worker
from epbt_optuna.tracking.delivery import Delivery
from epbt_optuna.tracking.destination import absolute
from tests.tracking.checks import check
from tests.tracking.training import NAME, make_study, run


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", None])
def test_a_change_of_the_working_directory_changes_no_database_nor_where_its_files_are(
    empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str | None
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    tracker = MLflowTracker(uri, pictures_every=0)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    study = make_study()
    run(study, tracker, 2)
    tracker.close()
    database = f"sqlite:///{tmp_path}/mlflow.db"
    check(study, database, 2)
    experiment = MlflowClient(database).get_experiment_by_name(NAME)
    assert experiment is not None
    assert str(experiment.artifact_location).startswith(f"{tmp_path.as_uri()}/mlruns/")
    assert not (tmp_path / "elsewhere" / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sqlite:///m.db", "sqlite:////a/b/m.db"),
        ("sqlite:///sqlite", "sqlite:////a/b/sqlite"),
        ("sqlite:///../m.db?timeout=3", "sqlite:////a/m.db?timeout=3"),
        ("sqlite+pysqlite:///m.db", "sqlite+pysqlite:////a/b/m.db"),
        ("sqlite:////c/m.db", "sqlite:////c/m.db"),
        *[
            (uri, uri)
            for uri in (
                "sqlite://",
                "sqlite:///:memory:",
                "sqlite:///file:m.db?uri=true",
                "sqlite://m.db",
                "http://me:secret@host:5000/x",
                "postgresql://me:secret@host/name",
                "postgresql://host:port/name",
                "databricks",
                "./mlruns",
            )
        ],
    ],
)
def test_a_file_is_that_of_the_folder_and_all_else_stays_as_it_is(uri: str, expected: str) -> None:
    assert absolute(uri, "/a/b") == expected


def test_a_folder_may_have_any_name(
    empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "100%41 #ä"
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    monkeypatch.chdir(folder)
    with MLflowTracker("sqlite:///mlflow.db", pictures_every=0) as tracker:
        run(make_study(), tracker, 1)
    assert {path.name for path in folder.iterdir()} >= {"mlflow.db", "mlflow.db.lock"}
    assert MlflowClient("sqlite:///mlflow.db").get_experiment_by_name(NAME) is not None


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql+psycopg://me:secret@127.0.0.1:9/name",
        "postgresql+psycopg://me:a/secret@127.0.0.1:9/name",
        "http://me:secret@127.0.0.1:9",
        "http://secret@127.0.0.1:9",
    ],
)
def test_a_server_that_is_down_is_given_up_soon_and_no_password_is_said(
    uri: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_PATIENCE_SECONDS", 1.0)
    study = make_study()
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    start = time.monotonic()
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1:9.* is still down") as raised:
        MLflowTracker(uri).sync(study)
    assert time.monotonic() - start < 30
    assert "cannot be reached" in caplog.text
    assert "secret" not in caplog.text + str(raised.value)


def test_mlflows_variables_are_the_users_when_all_is_delivered(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    before = dict(os.environ)
    seen: list[str | None] = []
    deliver = Delivery.deliver

    def look_and_deliver(self: Delivery, number: int, **options: bool) -> None:
        seen.extend(
            map(os.environ.get, ["MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"])
        )
        deliver(self, number, **options)

    monkeypatch.setattr(Delivery, "deliver", look_and_deliver)
    trackers = [MLflowTracker(database, experiment=name, pictures_every=0) for name in "ab"]
    for tracker in trackers:
        run(make_study(), tracker, 1)
    trackers[0].close()
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0", "the other one delivers"
    trackers[1].close()
    assert seen == ["0", "7"] * 2
    changed = {name for name in os.environ.keys() | before.keys() if name.startswith("MLFLOW_")}
    assert {name: os.environ.get(name) for name in changed} == {n: before.get(n) for n in changed}


def test_a_study_that_a_thread_does_not_see_is_refused_by_its_storage(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    study = make_study("sqlite:///:memory:")
    with MLflowTracker(database) as tracker:
        run(study, tracker, 2)
    assert "`study` must have a storage that all threads see" in caplog.text
    with pytest.raises(ValueError, match="`study` must have a storage that all threads see"):
        tracker.sync(study)


def test_a_storage_that_fails_is_not_called_mlflow(
    database: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise optuna.exceptions.StorageInternalError("locked")

    monkeypatch.setattr(worker, "_PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(Delivery, "missing", fail)
    monkeypatch.setattr("epbt_optuna.tracking.experiment.Experiment.answers", lambda _: False)
    with caplog.at_level(logging.WARNING), MLflowTracker(database, pictures_every=0) as tracker:
        run(make_study(), tracker, 1)
    assert "The storage of study 'a study' cannot be reached" in caplog.text
    assert "The storage of study 'a study' is still down: 1 trials are left" in caplog.text
