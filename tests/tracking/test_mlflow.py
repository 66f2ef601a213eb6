"""What MLflow holds after a run."""

from __future__ import annotations

import optuna
from mlflow import MlflowClient

from epbt_optuna import TaylorGLOLoss
from epbt_optuna.lineage import Schedule, summarize_generations
from epbt_optuna.tracking import MLflowTracker
from tests.tracking.checks import check, history, parents_of
from tests.tracking.training import NAME, make_study, run


def test_every_trial_is_a_run_with_what_the_study_says_of_it(database: str) -> None:
    study = make_study()
    with MLflowTracker(database, pictures_every=0) as tracker:
        run(study, tracker, 15)
    children = check(study, database, 15)
    assert {r.info.status for r in children.values()} == {"FINISHED", "KILLED", "FAILED"}
    assert children[8].data.tags["epbt.error"] == "out of memory"
    assert children[8].data.tags["epbt.state"] == "FAIL"
    assert children[9].data.tags["note"] == "of 9"
    assert children[9].data.tags["epbt.device"] == "cpu:0"
    assert children[9].info.run_name == "trial 9"


def test_the_study_is_a_run_with_a_step_for_each_generation_that_has_ended(database: str) -> None:
    study = make_study()
    with MLflowTracker(database, pictures_every=0) as tracker:
        run(study, tracker, 6 + 3 + 3 + 2)
    (parent,) = parents_of(database)
    assert parent.info.run_name == NAME
    assert parent.info.status == "FINISHED"
    summaries = summarize_generations(study)[:3]
    for key, field in {
        "best": "best",
        "mean": "mean",
        "median": "median",
        "worst": "worst",
        "diversity": "diversity",
        "pruned": "n_pruned",
        "failed": "n_failed",
        "epochs_trained": "n_reports",
    }.items():
        expected = [(s.generation, float(getattr(s, field))) for s in summaries]
        assert history(database, parent, key) == expected
    best = [study.trials[s.best_trial] for s in summaries if s.best_trial is not None]
    assert history(database, parent, "best.x") == list(enumerate(t.params["x"] for t in best))
    assert parent.data.tags["epbt.best.activation"] == best[-1].params["activation"]


def test_pictures_and_the_schedule_are_artifacts_of_the_study(database: str) -> None:
    study = make_study()
    for trial in range(9):
        study.enqueue_trial({f"theta_{i}": 0.1 * i for i in range(8)} | {"x": trial / 10})

    def objective(trial: optuna.Trial) -> float:
        TaylorGLOLoss.suggest(trial)
        value = trial.suggest_float("x", 0, 1)
        trial.report(value, 0)
        return value

    tracker = MLflowTracker(database)
    study.optimize(objective, n_trials=9, callbacks=[tracker])
    tracker.sync(study)
    client = MlflowClient(database)
    (parent,) = parents_of(database)
    sizes = {file.path: file.file_size or 0 for file in client.list_artifacts(parent.info.run_id)}
    pictures = ("generations", "lineage", "loss_functions", "schedule")
    assert set(sizes) == {
        "schedule.json",
        *(f"{name}.{kind}" for name in pictures for kind in ("html", "png")),
    }
    assert min(sizes.values()) > 500
    text = client.download_artifacts(parent.info.run_id, "schedule.json")
    assert Schedule.load(text) == Schedule.from_study(study)
