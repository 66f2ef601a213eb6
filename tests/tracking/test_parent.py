"""The parent run, begun and ended by hand."""

from __future__ import annotations

import pytest
from mlflow import MlflowClient
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from epbt_optuna.tracking.delivery import Delivery
from epbt_optuna.tracking.destination import Destination
from epbt_optuna.tracking.parent import NOTE, child_note
from tests.tracking.checks import history, parents_of
from tests.tracking.training import make_study, objective


def destination(database: str, *, pictures_every: int = 0) -> Destination:
    return Destination(database, None, log_checkpoints=False, pictures_every=pictures_every)


def test_it_is_running_while_it_is_delivered_to_or_a_trial_is(database: str) -> None:
    study = make_study()
    statuses = []
    for is_told in (True, True, False):
        trial = study.ask()
        delivery = Delivery(study, destination(database))
        statuses += [run.info.status for run in parents_of(database)]
        if is_told:
            study.tell(trial, 1.0)
        delivery.parent.end()
        statuses += [run.info.status for run in parents_of(database)]
    assert statuses == ["RUNNING", "FINISHED", "RUNNING", "FINISHED", "RUNNING", "RUNNING"]


def test_without_the_sampler_it_has_the_settings_that_the_study_records(database: str) -> None:
    study = make_study()
    study.tell(study.ask(), 1.0)
    study.sampler = RandomSampler()
    Delivery(study, destination(database))
    (run,) = parents_of(database)
    params = run.data.params
    assert (params["sampler.population_size"], params["sampler.n_elites"]) == ("6", "3")
    assert "sampler" not in params


def test_a_generation_is_brought_once_it_has_ended_and_pictures_as_often_as_wanted(
    database: str,
) -> None:
    study = make_study()
    study.optimize(objective, n_trials=8)
    parent = Delivery(study, destination(database, pictures_every=1)).parent
    (run,) = parents_of(database)
    client = MlflowClient(database)
    parent.end_generation(4)
    assert history(database, run, "best") == []
    parent.end_generation(5)
    assert [step for step, _ in history(database, run, "best")] == [0]
    assert "lineage.png" in {file.path for file in client.list_artifacts(run.info.run_id)}
    study.optimize(objective, n_trials=1, catch=MemoryError)
    parent.end_generation(8)  # it took a while to draw, so the next has to wait
    assert [step for step, _ in history(database, run, "best")] == [0]


def test_without_pictures_there_is_the_schedule_alone(database: str) -> None:
    study = make_study()
    study.optimize(objective, n_trials=6)
    parent = Delivery(study, destination(database)).parent
    parent.draw()
    (run,) = parents_of(database)
    files = MlflowClient(database).list_artifacts(run.info.run_id)
    assert [file.path for file in files] == ["schedule.json"]


def test_where_all_trials_failed_there_is_no_winner(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    study = make_study()
    for _ in range(6):
        study.tell(study.ask(), state=TrialState.FAIL)
    parent = Delivery(study, destination(database)).parent
    parent.bring_generations()
    parent.end()
    (run,) = parents_of(database)
    assert "epbt.winner_trial" not in run.data.tags
    assert run.data.metrics["failed"] == 6
    assert "epbt_optuna" not in caplog.text


def test_a_child_whose_parent_has_no_run_names_it_without_a_link() -> None:
    study = make_study()
    study.optimize(objective, n_trials=6, catch=MemoryError)
    first, last = study.trials[0], study.trials[5]
    assert child_note(last, first, "1", "").startswith("Goes on with the weights of trial 0 (")
    assert "(#/experiments/1/runs/abc?" in child_note(last, first, "1", "abc")
    assert child_note(first, first, "1", "").endswith(": as it was.")


def test_names_in_its_description_are_shown_letter_by_letter(database: str) -> None:
    study = make_study()
    study.optimize(lambda trial: trial.suggest_float("a*b*", 0, 1), n_trials=6)
    Delivery(study, destination(database)).parent.bring_generations()
    (run,) = parents_of(database)
    assert r"a\*b\*=" in run.data.tags[NOTE]
