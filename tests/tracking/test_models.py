"""Whose weights a trial began with, in MLflow's own terms."""

from __future__ import annotations

from pathlib import Path

import optuna
from mlflow import MlflowClient

from epbt_optuna import CheckpointStore
from epbt_optuna.tracking import MLflowTracker
from tests.tracking.checks import check
from tests.tracking.training import make_study


def test_the_parents_model_is_an_input_of_its_childrens_runs(database: str, tmp_path: Path) -> None:
    checkpoints = CheckpointStore(tmp_path / "checkpoints")

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        checkpoints.inherit(trial)
        if trial.number == 3:
            raise optuna.TrialPruned
        checkpoints.save(trial, {"x": x})
        return x

    study = make_study()
    with MLflowTracker(database, log_checkpoints=True, pictures_every=0) as tracker:
        study.optimize(objective, n_trials=12, callbacks=[tracker])
        tracker.sync(study)
    children = check(study, database, 12)
    models = {}
    for number, child in children.items():
        run = MlflowClient(database).get_run(child.info.run_id)  # with outputs
        assert run.outputs is not None
        outputs = [model.model_id for model in run.outputs.model_outputs]
        assert len(outputs) == (number != 3)
        models[number] = outputs
    for trial in study.trials:
        parent = trial.system_attrs["epbt:lineage"]["parent"]
        run = MlflowClient(database).get_run(children[trial.number].info.run_id)  # with inputs
        assert run.inputs is not None
        inputs = [model.model_id for model in run.inputs.model_inputs]
        assert inputs == ([] if parent is None else models[parent])
    model = MlflowClient(database).get_logged_model(models[7][0])
    assert model.source_run_id == children[7].info.run_id
    checkpoint = study.trials[7].system_attrs["epbt:checkpoint"]
    assert model.tags["epbt.checkpoint"] == checkpoint["artifact"]
    assert model.tags["epbt.checkpoint_sha256"] == checkpoint["sha256"]
