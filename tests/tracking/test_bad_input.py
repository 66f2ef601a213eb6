"""Wrong arguments, wrong studies, wrong experiments: a sentence, and training goes on."""

from __future__ import annotations

import importlib.util
import logging
from typing import Any

import optuna
import pytest
from mlflow import MlflowClient

from epbt_optuna.tracking import MLflowTracker, TrackingError
from epbt_optuna.tracking.runs import valid_key
from tests.tracking.checks import check, children_of, experiment_id, parents_of
from tests.tracking.training import make_study, run


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"tracking_uri": 5000}, TypeError, "`tracking_uri` must be a string or None but got 5000"),
        ({"tracking_uri": " "}, ValueError, "`tracking_uri` must not be empty but got ' '"),
        ({"experiment": 1}, TypeError, "`experiment` must be a string or None but got 1"),
        ({"experiment": ""}, ValueError, "`experiment` must not be empty but got ''"),
        (
            {"log_checkpoints": "yes"},
            TypeError,
            "`log_checkpoints` must be True or False but got 'yes'",
        ),
        ({"pictures_every": -1}, ValueError, "`pictures_every` must be at least 0 but got -1"),
        ({"pictures_every": 1.5}, TypeError, "`pictures_every` must be an integer but got 1.5"),
    ],
)
def test_a_wrong_argument_is_named(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        MLflowTracker(**arguments)


def test_without_mlflow_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ImportError, match=r"pip install 'epbt-optuna\[mlflow\]'"):
        MLflowTracker()


def test_an_empty_study_cannot_be_synced(database: str) -> None:
    with pytest.raises(ValueError, match="Study 'a study' is empty"):
        MLflowTracker(database).sync(make_study())


def test_a_deleted_experiment_is_a_sentence_and_does_not_stop_training(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    study = make_study()
    tracker = MLflowTracker(database, pictures_every=0)
    run(study, tracker, 2)
    tracker.close()
    deleted = experiment_id(database)
    MlflowClient(database).delete_experiment(deleted)
    run(study, tracker, 2)
    with caplog.at_level(logging.WARNING, "optuna.epbt_optuna"):
        tracker.close()
    assert "'a study' was deleted. Restore it" in caplog.text
    assert "another name as `experiment`" in caplog.text
    with pytest.raises(TrackingError, match=f"restore --experiment-id {deleted}"):
        tracker.sync(study)
    MlflowClient(database).restore_experiment(deleted)
    tracker.sync(study)
    check(study, database, 4)


def test_a_study_that_epbt_did_not_run_has_its_trials_without_lineage(database: str) -> None:
    study = optuna.create_study(study_name="other", sampler=optuna.samplers.RandomSampler(seed=0))
    with MLflowTracker(database) as tracker:
        run(study, tracker, 3)
    children = check(study, database, 3, "other", is_ours=False)
    assert "epbt.generation" not in children[0].data.tags
    assert parents_of(database, "other")[0].info.status == "FINISHED"


def test_a_study_of_failed_trials_only_has_no_schedule_and_no_error(database: str) -> None:
    study = make_study()

    def fail(trial: optuna.Trial) -> float:
        trial.suggest_float("x", 0, 1)
        raise MemoryError

    tracker = MLflowTracker(database, pictures_every=0)
    study.optimize(fail, n_trials=7, callbacks=[tracker], catch=MemoryError)
    tracker.sync(study)
    assert {r.info.status for r in children_of(database).values()} == {"FAILED"}
    (parent,) = parents_of(database)
    assert parent.data.metrics["failed"] == 6
    assert MlflowClient(database).list_artifacts(parent.info.run_id) == []


def test_what_mlflow_would_refuse_is_made_to_fit(database: str) -> None:
    """Its limits: names, lengths, and how much a request may carry."""
    study = make_study()

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("lr (log₁₀, θ)", 0, 1)
        trial.suggest_categorical("../layers", ["x" * 9000])
        for step in range(2500):
            trial.report(float("nan") if step == 7 else step, step)
        for i in range(150):
            trial.set_user_attr(f"note {i}", "y" * 9000 if i == 0 else i)
        trial.set_user_attr("mlflow.parentRunId", "mine")
        return float("inf")

    tracker = MLflowTracker(database, pictures_every=0)
    study.optimize(objective, n_trials=1, callbacks=[tracker])
    tracker.sync(study)
    run = children_of(database)[0]
    names = {valid_key("lr (log₁₀, θ)"), valid_key("../layers")}
    assert set(run.data.params) == names
    assert len(run.data.params[valid_key("../layers")]) == 6000
    assert run.data.metrics["note 149"] == 149
    assert len(run.data.tags["note 0"]) == 8000
    assert run.data.tags["user.mlflow.parentRunId"] == "mine"
    history = MlflowClient(database).get_metric_history(run.info.run_id, "intermediate_value")
    assert len(history) == 2500
