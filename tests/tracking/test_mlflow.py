"""What MLflow holds after a run."""

from __future__ import annotations

import math

import mlflow
import optuna
import pytest
from mlflow import MlflowClient

from epbt_optuna import EPBTSampler, TaylorGLOLoss
from epbt_optuna.lineage import Schedule, summarize_generations
from epbt_optuna.operators import GaussianMutation, TournamentSelection, UniformCrossover
from epbt_optuna.tracking import MLflowTracker
from epbt_optuna.tracking.destination import Destination
from epbt_optuna.tracking.experiment import Experiment
from epbt_optuna.tracking.parent import NOTE
from tests.tracking.checks import check, children_of, history, parents_of
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
    assert history(database, children[9], "user.fitness") == [(2, study.trials[9].params["x"] / 2)]
    founder, child = children[0].data.tags, children[9].data.tags
    assert founder[NOTE].startswith("A founder")
    link = f"#/experiments/1/runs/{child['epbt.parent_run_id']}?workflowType=machine_learning"
    (value,) = study.trials[int(child["epbt.parent_trial"])].values
    assert (
        f"[trial {child['epbt.parent_trial']}]({link}) ({value:.4g}): x {value:.4g} → "
        in child[NOTE]
    )


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
    settings = {key.removeprefix("sampler."): value for key, value in parent.data.params.items()}
    assert settings == {
        "sampler": "EPBTSampler",
        "population_size": "6",
        "n_elites": "3",
        "train_elites": "False",
        "fitness_smoothing": "0.0",
        "selection": str(TournamentSelection()),
        "mutation": str(GaussianMutation()),
        "crossover": str(UniformCrossover()),
        "seed": "0",
    }


def test_the_winner_its_schedule_and_what_people_wrote_are_on_the_study_s_run(
    database: str,
) -> None:
    study = make_study()
    tracker = MLflowTracker(database, pictures_every=0)
    client = MlflowClient(database)
    for words in ("", "Ours.\n"):  # resumed: another winner, with a schedule of its own
        run(study, tracker, 15)
        tracker.close()
        tracker.sync(study)  # and nothing is there twice
        (parent,) = parents_of(database)
        schedule = Schedule.from_study(study)
        winner = schedule.steps[-1].trial
        child = children_of(database)[winner]
        assert parent.data.tags["epbt.winner_trial"] == str(winner)
        assert parent.data.tags["epbt.winner_run_id"] == child.info.run_id
        note = parent.data.tags[NOTE]
        assert note.startswith(f"{words}## Population\n[Trial {winner}](#/experiments/1/runs/")
        assert "- population: 6 individuals, 3 of them elites" in note
        steps = [(step.generation, step.params["x"]) for step in schedule.steps]
        assert history(database, parent, f"schedule of trial {winner}/x") == steps
        client.set_tag(parent.info.run_id, NOTE, f"Ours.\n{note}")
    schedules = {key for key in parent.data.metrics if key.startswith("schedule of trial")}
    assert len(schedules) == 2


def test_what_the_fittest_does_not_have_is_not_shown_beside_what_it_has(database: str) -> None:
    study = optuna.create_study(
        study_name="s", direction="maximize", sampler=EPBTSampler(2, n_elites=1, seed=0)
    )

    def objective(trial: optuna.Trial) -> float:
        first = trial.number < 3  # the later ones are fitter, and have other variables
        trial.suggest_float("a" if first else "b", 0, 1)
        trial.suggest_categorical("c" if first else "d", ["one", "two"])
        return trial.number

    with MLflowTracker(database, pictures_every=0) as tracker:
        study.optimize(objective, n_trials=5, callbacks=[tracker])
    (parent,) = parents_of(database, "s")
    assert [math.isnan(value) for _, value in history(database, parent, "best.a")] == [
        *(False, False, True, True)
    ]
    assert not math.isnan(parent.data.metrics["best.b"])
    tags = {tag for tag in parent.data.tags if tag.startswith("epbt.best.")}
    assert tags == {"epbt.best.d"}


def test_of_two_processes_that_begin_together_the_settings_of_one_stay_without_a_warning(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    study = make_study()
    study.sampler = EPBTSampler(6, feasible=lambda _: True, seed=0)
    with MLflowTracker(database, pictures_every=0) as tracker:
        run(study, tracker, 1)
    there = Experiment(study, Destination(database, None, False, 0))
    there.log(there.parent, params={"sampler.seed": "1", "sampler.new": "2"})  # both looked before
    (study_run,) = parents_of(database)
    params = study_run.data.params
    assert (params["sampler.seed"], params["sampler.new"]) == ("0", "2")
    assert params["sampler.feasible"].startswith("<function test_of_two_processes")
    assert " at 0x" not in params["sampler.feasible"]
    assert "cannot show" not in caplog.text


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
    path = mlflow.artifacts.download_artifacts(f"{parent.info.artifact_uri}/schedule.json")
    assert Schedule.load(path) == Schedule.from_study(study)
