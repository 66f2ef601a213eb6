"""Exactly once: several processes, outages, kills and resumed runs, with a real MLflow server."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from optuna.trial import TrialState

from epbt_optuna.tracking import MLflowTracker, TrackingError, worker
from tests.tracking.checks import check, children_of, experiment_id, history, parents_of
from tests.tracking.training import NAME, make_study, open_journal, run

_REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture
def experiment(request: pytest.FixtureRequest) -> str:
    """A name of this test's own, as tests share the server."""
    return str(request.node.name)


def start_program(uri: str, journal: Path, n_trials: int, experiment: str) -> subprocess.Popen[str]:
    """Start one process of the run in a journal."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.tracking.training"),
            *(uri, str(journal), str(n_trials), experiment),
        ],
        cwd=_REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )


# Several at work


def test_four_threads_bring_every_trial_once(server: str, experiment: str) -> None:
    study = make_study()
    with MLflowTracker(server, experiment=experiment, pictures_every=0) as tracker:
        run(study, tracker, 24, n_jobs=4)
    check(study, server, 24, experiment)


def test_four_processes_that_start_on_no_database_bring_every_trial_once(tmp_path: Path) -> None:
    """MLflow's own processes do not wait for one another, and leave tables that none can use."""
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    (tmp_path / "new").mkdir()
    journal = tmp_path / "study.log"
    open_journal(str(journal))
    programs = [start_program(uri, journal, 6, NAME) for _ in range(4)]
    outputs = [program.communicate()[0] for program in programs]
    assert [program.returncode for program in programs] == [0] * 4, outputs
    study = open_journal(str(journal))
    assert [p.info.status for p in parents_of(uri)] == ["FINISHED"]
    assert sorted(children_of(uri)) == list(range(24))
    # Whose parent was still on its way through another process has all its tags after a sync.
    MLflowTracker(uri, pictures_every=0).sync(study)
    check(study, uri, 24)
    (parent,) = parents_of(uri)
    assert [step for step, _ in history(uri, parent, "best")] == list(range(7))


def test_processes_that_begin_together_elect_one_parent_run(server: str, experiment: str) -> None:
    study = make_study()
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)

    def sync(_: int) -> str:
        return MLflowTracker(server, experiment=experiment, pictures_every=0).sync(study)

    with ThreadPoolExecutor(6) as threads:
        addresses = set(threads.map(sync, range(6)))
    (parent,) = parents_of(server, experiment)
    (address,) = addresses
    assert parent.info.run_id in address
    check(study, server, 1, experiment)


def test_what_is_there_twice_or_in_part_is_there_once_and_whole_after_sync(
    server: str, experiment: str
) -> None:
    """As after two processes that did not see each other, and one that was killed between calls."""
    study = make_study()
    tracker = MLflowTracker(server, experiment=experiment, pictures_every=0)
    run(study, tracker, 9)
    tracker.close()
    client = MlflowClient(server)
    children = children_of(server, experiment)
    for number in (2, 5):
        tags = dict(children[number].data.tags)
        again = client.create_run(experiment_id(server, experiment), tags=tags)
        client.set_terminated(again.info.run_id)
    cut_short = children[7]
    client.delete_run(cut_short.info.run_id)
    run_7 = client.create_run(
        experiment_id(server, experiment),
        start_time=cut_short.info.start_time,
        tags=dict(cut_short.data.tags),
    )
    step, value = history(server, cut_short, "intermediate_value")[0]
    client.log_batch(run_7.info.run_id, [Metric("intermediate_value", value, 0, step)])
    client.delete_run(children[3].info.run_id)
    with pytest.raises(AssertionError):
        check(study, server, 9, experiment)
    tracker.sync(study)
    # Of two whole runs either may stay: one here was made up, without the trial's values.
    for number in (2, 5):
        (kept,) = (r for n, r in children_of(server, experiment).items() if n == number)
        client.delete_run(kept.info.run_id)
    tracker.sync(study)
    runs = check(study, server, 9, experiment)
    tracker.sync(study)
    again_runs = check(study, server, 9, experiment)
    assert {n: r.info.run_id for n, r in runs.items()} == {
        n: r.info.run_id for n, r in again_runs.items()
    }


# Resumed, and cut short


def test_a_resumed_study_goes_on_in_the_same_parent_run(
    server: str, experiment: str, tmp_path: Path
) -> None:
    for n_trials in (7, 14):
        study = open_journal(str(tmp_path / "study.log"))
        with MLflowTracker(server, experiment=experiment, pictures_every=0) as tracker:
            run(study, tracker, 7)
        check(study, server, n_trials, experiment)


def test_a_run_that_is_killed_and_resumed_leaves_every_trial_once(
    server: str, experiment: str, tmp_path: Path
) -> None:
    journal = tmp_path / "study.log"
    program = start_program(server, journal, 200, experiment)
    assert program.stdout is not None
    while program.stdout.readline() != "30\n":
        pass
    program.kill()
    program.communicate()
    study = open_journal(str(journal))
    for trial in study.get_trials(states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)
    n_before = len(study.trials)
    with MLflowTracker(server, experiment=experiment, pictures_every=0) as tracker:
        run(study, tracker, 5)
        tracker.close()
        tracker.sync(study)
    check(study, server, n_before + 5, experiment)


def test_a_trial_whose_error_ends_the_run_is_there_too(server: str, experiment: str) -> None:
    study = make_study()

    def fail(trial: optuna.Trial) -> float:
        raise KeyError(trial.number)

    with MLflowTracker(server, experiment=experiment, pictures_every=0) as tracker:
        run(study, tracker, 2)
        with pytest.raises(KeyError):
            study.optimize(fail, n_trials=1, callbacks=[tracker])
    assert check(study, server, 3, experiment)[2].info.status == "FAILED"


def test_a_forked_process_has_a_thread_of_its_own(
    server: str, experiment: str, tmp_path: Path
) -> None:
    study = open_journal(str(tmp_path / "study.log"))
    tracker = MLflowTracker(server, experiment=experiment, pictures_every=0)
    run(study, tracker, 3)
    worker = os.fork()
    if worker == 0:
        status = 1
        try:
            run(open_journal(str(tmp_path / "study.log")), tracker, 3)
            tracker.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(worker, 0)[1] == 0
    tracker.close()
    tracker.sync(study)
    check(study, server, 6, experiment)


def test_a_trial_that_ended_a_minute_ago_is_not_left_to_a_process_that_may_be_gone(
    server: str, experiment: str, tmp_path: Path
) -> None:
    """So a run that is resumed after a kill needs no `sync`."""
    study = open_journal(str(tmp_path / "study.log"))
    for age in (timedelta(minutes=2), timedelta(0)):
        trial = optuna.create_trial(value=0.5)
        assert trial.datetime_complete is not None
        trial.datetime_start = trial.datetime_complete = trial.datetime_complete - age
        study.add_trial(trial)
    with MLflowTracker(server, experiment=experiment, pictures_every=0) as tracker:
        run(study, tracker, 1)
    assert sorted(children_of(server, experiment)) == [0, 2]


def test_a_sync_before_the_first_trial_begins_has_the_same_parent_run(database: str) -> None:
    study = make_study()
    study.enqueue_trial({"x": 0.5})
    tracker = MLflowTracker(database, pictures_every=0)
    tracker.sync(study)
    run(study, tracker, 3)
    tracker.close()
    tracker.sync(study)
    check(study, database, 3)


def test_runs_of_version_0_1_go_on_in_their_parent_run(database: str) -> None:
    study = make_study()
    tracker = MLflowTracker(database, pictures_every=0)
    run(study, tracker, 2)
    tracker.close()
    (parent,) = parents_of(database)
    start = f"{NAME}\n{study.trials[0].datetime_start}"
    former = hashlib.sha256(start.encode()).hexdigest()[:16]
    client = MlflowClient(database)
    for tracked in (parent, *children_of(database).values()):
        client.set_tag(tracked.info.run_id, "epbt.study", former)
    run(study, tracker, 2)
    tracker.close()
    assert [p.info.run_id for p in parents_of(database)] == [parent.info.run_id]
    check(study, database, 4)


def test_a_trial_that_mlflow_refuses_is_named_and_costs_only_itself(
    database: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study()
    set_terminated = MlflowClient.set_terminated

    def refuse(client: MlflowClient, run_id: str, *arguments: Any) -> None:
        if client.get_run(run_id).data.tags.get("epbt.trial") == "2":
            raise MlflowException("No.", INVALID_PARAMETER_VALUE)
        set_terminated(client, run_id, *arguments)

    monkeypatch.setattr(MlflowClient, "set_terminated", refuse)
    tracker = MLflowTracker(database, pictures_every=0)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=9, callbacks=[tracker])
    tracker.close()
    whole = {n for n, r in children_of(database).items() if r.info.status == "FINISHED"}
    assert whole == set(range(9)) - {2}
    named = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(named) == 1
    assert named[0].startswith("The trial 2 of study 'a study' cannot be brought to MLflow")
    (parent,) = parents_of(database)
    assert [step for step, _ in history(database, parent, "best")] == [0, 1]
    with pytest.raises(TrackingError, match="The trial 2"):
        tracker.sync(study)


def test_names_that_become_alike_are_kept_apart(database: str) -> None:
    study = make_study()

    def objective(trial: optuna.Trial) -> float:
        names = ("lr(head)", "lr[head]", "x" * 250, "x" * 250 + "y")
        for i, name in enumerate(names):
            trial.suggest_float(name, i, i)
            trial.set_user_attr(name, i)
        return 0.5

    with MLflowTracker(database, pictures_every=0) as tracker:
        study.optimize(objective, n_trials=6, callbacks=[tracker])
    run_0 = children_of(database)[0]
    assert sorted(run_0.data.params.values()) == ["0.0", "1.0", "2.0", "3.0"]
    notes = {k: v for k, v in run_0.data.metrics.items() if k.startswith(("lr", "x"))}
    assert sorted(notes.values()) == [0, 1, 2, 3]
    (parent,) = parents_of(database)
    best = {k: v for k, v in parent.data.metrics.items() if k.startswith("best.")}
    assert sorted(best.values()) == [0, 1, 2, 3]


def test_a_bug_is_said_once_and_not_tried_again(
    database: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fail(*_: object) -> None:
        calls.append(1)
        raise ImportError("no such package")

    monkeypatch.setattr(worker, "Delivery", fail)
    study = make_study()
    with MLflowTracker(database, pictures_every=0) as tracker:
        run(study, tracker, 3)
    assert len(calls) == 1
    assert caplog.text.count("ImportError: no such package") == 1


def test_an_interrupt_of_training_is_the_users_and_all_is_delivered(database: str) -> None:
    study = make_study()

    def interrupt(trial: optuna.Trial) -> float:
        if trial.number == 3:
            raise KeyboardInterrupt
        return trial.suggest_float("x", 0, 1)

    with pytest.raises(KeyboardInterrupt), MLflowTracker(database, pictures_every=0) as tracker:
        study.optimize(interrupt, n_trials=9, callbacks=[tracker])
    states = [run.info.status for _, run in sorted(children_of(database).items())]
    assert states == ["FINISHED"] * 3 + ["FAILED"]


def test_what_was_not_closed_is_delivered_when_the_interpreter_ends(
    database: str, tmp_path: Path
) -> None:
    """And no module of the working directory is imported, not by a thread either."""
    (tmp_path / "sqlalchemy.py").write_text("raise SystemExit('imported')")
    journal = tmp_path / "study.log"
    program = (
        "import sys\n"
        "from tests.tracking.training import MLflowTracker, open_journal, run\n"
        "tracker = MLflowTracker(sys.argv[1], pictures_every=0)\n"
        "run(open_journal(sys.argv[2]), tracker, 5)\n"
    )
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "program.py").write_text(program)
    subprocess.run(
        [sys.executable, str(tmp_path / "programs" / "program.py"), database, str(journal)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(_REPOSITORY)},
        check=True,
    )
    check(open_journal(str(journal)), database, 5)
