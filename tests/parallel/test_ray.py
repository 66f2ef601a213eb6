"""Trials as Ray tasks on a cluster of two nodes: same study, nodes that come and go, ends."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path

import optuna
import pytest
import ray
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.optuna import trial_id_of
from epbt_optuna.parallel import optimize
from epbt_optuna.parallel.engines import ray as ray_engine
from epbt_optuna.parallel.engines.pickling import pickled, unpacked
from epbt_optuna.parallel.worker import Work
from tests.drills.training import RULES, summary
from tests.parallel.clusters import Nodes
from tests.parallel.ray_runs import (
    N_TRIALS,
    make_objective,
    outcomes,
    run_on_ray,
    runs_in,
    study_on,
)
from tests.parallel.runs import is_there, journal_study, quick, wait_until
from tests.replay import check_lineage
from tests.servers import GrpcProxy, PostgresServer

# A cluster takes its time to start: one is enough.
pytestmark = pytest.mark.xdist_group("ray")


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> list[FrozenTrial]:
    """The study as `study.optimize` makes it, in this process."""
    folder = tmp_path_factory.mktemp("serial")
    with study_on("memory") as study:
        study.optimize(make_objective(folder), N_TRIALS, catch=(ArithmeticError,))
        return study.trials


# One seed, one study


@pytest.mark.parametrize("storage", ["postgres", "grpc_proxy"])
def test_one_seed_makes_the_same_study_on_two_nodes_as_in_one_process(
    two_nodes: Nodes,  # noqa: ARG001, is there
    storage: str,
    serial: list[FrozenTrial],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    server: PostgresServer | GrpcProxy = request.getfixturevalue(storage)
    url = server.new_database() if isinstance(server, PostgresServer) else server.url
    trials = run_on_ray(url, make_objective(tmp_path))
    assert [summary(trial) for trial in trials] == [summary(trial) for trial in serial]
    assert {TrialState.PRUNED, TrialState.FAIL} < {trial.state for trial in trials}
    check_lineage(trials, RULES)
    assert sorted(number for number, _ in runs_in(tmp_path)) == list(range(N_TRIALS))
    assert len({node for _, node in runs_in(tmp_path)}) == 2


def test_a_node_that_goes_away_costs_no_trial_and_one_that_comes_gets_some(
    two_nodes: Nodes,
    postgres: PostgresServer,
    serial: list[FrozenTrial],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    hangs = 3

    def change_nodes(_study: optuna.Study, trial: FrozenTrial) -> None:
        if trial.number == hangs + 1:
            wait_until((tmp_path / "hung").exists)
            two_nodes.remove(dict(runs_in(tmp_path))[hangs])
            two_nodes.add()

    objective = make_objective(tmp_path, hangs=hangs)
    trials = run_on_ray(postgres.new_database(), objective, callbacks=[change_nodes])
    assert outcomes(trials) == outcomes(serial)
    check_lineage(trials, RULES)
    assert "lost" not in caplog.text
    runs = runs_in(tmp_path)
    assert sorted(number for number, _ in runs) == sorted([*range(N_TRIALS), hangs])
    assert len({node for _, node in runs}) == 3
    half_done = next(summary(trial)["weights"] for trial in serial if trial.number == hangs)
    assert trials[hangs].user_attrs["start"]["weights"] == half_done["partial"]


@pytest.mark.parametrize("max_retries", [0, 1])
def test_a_killed_process_loses_its_trial_unless_that_may_run_again(
    max_retries: int,
    two_nodes: Nodes,  # noqa: ARG001, is there
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def objective(trial: optuna.Trial) -> float:
        x: float = trial.suggest_float("x", -1, 1)
        trial.report(x, step=0)
        died = Path(tmp_path, f"died-{trial.number}")
        if trial.number in (2, 7) and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    study = journal_study(tmp_path / "log")
    with caplog.at_level(logging.WARNING):
        optimize(
            study,
            objective,
            n_generations=2,
            engine="ray",
            ray_options={"max_retries": max_retries},
        )
    check_lineage(study.trials, RULES)
    lost = [trial.number for trial in study.trials if trial.state != TrialState.COMPLETE]
    if max_retries:
        assert not lost
        assert all(trial.intermediate_values == {0: trial.value} for trial in study.trials)
    else:
        assert lost == [2, 7]
        assert "lost with their workers: [2, 7]" in caplog.text


def test_a_trial_that_was_told_is_not_run_again(
    two_nodes: Nodes,  # noqa: ARG001, is there
    tmp_path: Path,
) -> None:
    study = journal_study(tmp_path / "log")
    trial = study.ask()
    study.tell(trial, 1.0)

    def objective(_: optuna.Trial) -> float:
        (tmp_path / "ran").touch()
        return 0.0

    work = ray.put((pickled(Work(study, objective, ())), optuna.logging.WARNING))
    outcome = unpacked(ray.get(ray.remote(ray_engine._run).remote([work], trial_id_of(trial))))
    assert (outcome.failure, outcome.error) == (None, None)
    assert not (tmp_path / "ran").exists()
    assert study.trials[0].value == 1.0


def test_reports_of_a_second_run_neither_warn_nor_change_those_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = journal_study(tmp_path / "log")
    trial = study.ask()
    trial.report(0.25, step=0)

    def objective(trial: optuna.Trial) -> float:
        trial.report(0.5, step=0)  # a warning would be an error
        trial.report(0.75, step=1)
        return 1.0

    work = Work(study, objective, ())
    monkeypatch.setattr(ray_engine, "_loaded", lambda _: work)
    monkeypatch.setattr(ray, "get_gpu_ids", list)
    outcome = unpacked(ray_engine._run([object()], trial_id_of(trial)))  # type: ignore[list-item]
    assert outcome.failure is None
    assert study.trials[0].intermediate_values == {0: 0.25, 1: 0.75}


# Ends


def test_ctrl_c_kills_what_runs_and_the_run_can_be_resumed(
    two_nodes: Nodes,  # noqa: ARG001, is there
    tmp_path: Path,
) -> None:
    def objective(trial: optuna.Trial) -> float:
        value = quick(trial)
        if trial.number > 0:
            (tmp_path / f"process-{os.getpid()}").touch()
            signal.pause()
        return value

    def press_ctrl_c(_study: optuna.Study, _trial: FrozenTrial) -> None:
        signal.raise_signal(signal.SIGINT)

    study = journal_study(tmp_path / "log")
    with pytest.raises(KeyboardInterrupt):
        optimize(study, objective, n_generations=2, engine="ray", callbacks=[press_ctrl_c])
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.COMPLETE, TrialState.FAIL]
    for path in tmp_path.glob("process-*"):  # Ray kills, and tells, before the process is gone
        wait_until(lambda: not is_there(int(path.name.split("-")[1])))  # noqa: B023, runs at once
    assert ray.is_initialized()  # it was not started by the run
    optimize(study, quick, n_generations=2, engine="ray")
    check_lineage(study.trials, RULES)


def test_what_an_objective_raises_ends_the_run(
    two_nodes: Nodes,  # noqa: ARG001, is there
    tmp_path: Path,
) -> None:
    def objective(trial: optuna.Trial) -> float:
        raise LookupError(f"in trial {trial.number}")

    study = journal_study(tmp_path / "log")
    with pytest.raises(LookupError, match="in trial"):
        optimize(study, objective, n_generations=1, engine="ray")
    assert {trial.state for trial in study.trials} == {TrialState.FAIL}
