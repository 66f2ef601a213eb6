"""Trials as Ray tasks on a cluster of two nodes: same study, nodes that come and go, mistakes."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import time
import types
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import optuna
import pytest
import ray
import torch
from optuna.trial import FrozenTrial, TrialState
from ray.exceptions import RuntimeEnvSetupError

from epbt_optuna import EPBTSampler
from epbt_optuna._internal.optuna import trial_id_of
from epbt_optuna.parallel import current_device, optimize
from epbt_optuna.parallel.devices import Slot, pin_to_device
from epbt_optuna.parallel.driver import Callback
from epbt_optuna.parallel.engines import ray as ray_engine
from epbt_optuna.parallel.engines.pickling import pickled, unpacked
from epbt_optuna.parallel.engines.protocol import EngineError, WorkerDied
from epbt_optuna.parallel.worker import Work
from examples import ray_cluster
from tests.drills.storages import opened_study
from tests.drills.training import RULES, Training, summary
from tests.parallel.clusters import Nodes, two_nodes
from tests.parallel.runs import journal_study, quick
from tests.replay import check_lineage
from tests.servers import GrpcProxy, PostgresServer

__all__ = ["two_nodes"]  # a fixture

# A cluster takes its time to start: one is enough.
pytestmark = pytest.mark.xdist_group("ray")

N_GENERATIONS = 4
N_TRIALS = RULES.population_size + (N_GENERATIONS - 1) * (RULES.population_size - RULES.n_elites)


def study_on(url: str) -> AbstractContextManager[optuna.Study]:
    sampler = EPBTSampler(RULES.population_size, n_elites=RULES.n_elites, seed=3)
    return opened_study(url, str(uuid.uuid4()), RULES, sampler)


def make_objective(folder: Path, hangs: int | None = None) -> Callable[[optuna.Trial], float]:
    """Return training with PRUNED and FAILED trials among it, that notes where each one runs.

    Args:
        folder: For notes and checkpoints.
        hangs: Number of a trial that comes to no end, when it is run first, but has saved.
    """

    def objective(trial: optuna.Trial) -> float:
        if ray.is_initialized():
            node = ray.get_runtime_context().get_node_id()
            Path(folder, f"{trial.number}-{os.getpid()}-{node}").touch()
        epochs = 0

        def hang(phase: str) -> None:
            nonlocal epochs
            epochs += phase == "train"
            hung = Path(folder, "hung")
            if trial.number == hangs and epochs == 2 and not hung.exists():
                hung.touch()
                signal.pause()

        value = Training(folder / "checkpoints", enter=hang)(trial)
        if trial.number % 7 == 4:
            raise optuna.TrialPruned
        if trial.number % 7 == 6:
            raise ArithmeticError("as it is meant")
        return value

    return objective


def runs_in(folder: Path) -> list[tuple[int, str]]:
    """Return number and node of every run of a trial."""
    names = [path.name.split("-") for path in folder.glob("*-*-*")]
    return sorted((int(number), node) for number, _, node in names)


def run_on_ray(
    url: str, objective: Callable[[optuna.Trial], float], callbacks: Sequence[Callback] = ()
) -> list[FrozenTrial]:
    with study_on(url) as study:
        optimize(
            study,
            objective,
            n_generations=N_GENERATIONS,
            engine="ray",
            catch=ArithmeticError,
            callbacks=callbacks,
        )
        return study.trials


def outcomes(trials: list[FrozenTrial]) -> list[dict[str, Any]]:
    """Return what a trial that was run twice has in common with one that was not."""
    return [{**summary(trial), "weights": trial.user_attrs.get("saved")} for trial in trials]


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
            while not (tmp_path / "hung").exists():
                time.sleep(0.01)
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
    for path in tmp_path.glob("process-*"):
        assert not Path("/proc", path.name.split("-")[1]).exists()
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


# Workers and devices


def test_workers_are_as_many_as_the_cluster_has_room_for_and_no_more_than_wanted(
    two_nodes: Nodes,  # noqa: ARG001, is there
    tmp_path: Path,
) -> None:
    work = Work(journal_study(tmp_path / "log"), quick, ())

    def n_workers(workers: int | None, **options: Any) -> int:
        return ray_engine.RayTasks(work, workers=workers, ray_options=options).n_workers

    assert n_workers(None) == 2
    assert n_workers(None, num_cpus=0.25) == 8
    assert n_workers(3, num_cpus=0.25) == 3
    assert n_workers(3) == 2


@pytest.mark.parametrize(
    ("resources", "options", "expected"),
    [
        ({"CPU": 4.0}, {"num_cpus": 1}, 4),
        ({"CPU": 4.0}, {"num_cpus": 0.1}, 40),
        ({"CPU": 4.0}, {"num_cpus": 3}, 1),
        ({"CPU": 4.0}, {"num_cpus": 1, "num_gpus": 0.5}, 0),
        ({"CPU": 8.0, "GPU": 2.0}, {"num_cpus": 1, "num_gpus": 0.25}, 8),
        ({"CPU": 8.0, "GPU": 2.0}, {"num_cpus": 1, "num_gpus": 0.4}, 4),
        ({"CPU": 8.0, "GPU": 4.0}, {"num_cpus": 0, "num_gpus": 2}, 2),
        ({"CPU": 8.0, "memory": 10.0}, {"num_cpus": 1, "memory": 4}, 2),
        ({"CPU": 8.0, "fast": 3.0}, {"num_cpus": 1, "resources": {"fast": 1}}, 3),
        ({"CPU": 8.0}, {"num_cpus": 1, "accelerator_type": "H100"}, 0),
        ({"CPU": 8.0}, {"num_cpus": 0}, float("inf")),
    ],
)
def test_a_node_has_room_for_as_many_tasks_as_its_scarcest_resource_allows(
    resources: dict[str, float], options: dict[str, Any], expected: float
) -> None:
    assert ray_engine._capacity({"Resources": resources}, options) == expected


@pytest.mark.parametrize(("gpu_ids", "device"), [([], "cpu"), ([3], "cuda:0")])
def test_the_device_is_the_gpu_that_ray_assigned_which_is_the_only_one_it_shows(
    gpu_ids: list[int], device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = journal_study(tmp_path / "log")

    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr("device", str(current_device()))
        return 0.0

    chosen: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(ray, "get_gpu_ids", lambda: gpu_ids)
    monkeypatch.setattr(ray_engine, "_loaded", lambda _: Work(study, objective, ()))
    ray_engine._run([object()], trial_id_of(study.ask()))  # type: ignore[list-item]
    pin_to_device(Slot(0, "cpu", 1))
    assert study.trials[0].user_attrs["device"] == device
    assert chosen == [device] * len(gpu_ids)


# Mistakes, before the first trial


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_gpus": 1}, "`ray_options` must fit a node"),
        ({"resources": {"fast": 1}}, "`ray_options` must fit a node"),
        ({"num_cpus": 0}, "`workers` must be given"),
        ({"num_returns": 2}, "must not set 'num_returns'"),
        ({"n_gpus": 1}, "n_gpus"),
        ({"num_cpus": -1}, "num_cpus"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_the_first_trial(
    options: dict[str, Any],
    message: str,
    two_nodes: Nodes,  # noqa: ARG001, is there
    tmp_path: Path,
) -> None:
    study = journal_study(tmp_path / "log")
    with pytest.raises(ValueError, match=message):
        optimize(study, quick, n_generations=1, engine="ray", ray_options=options)
    assert not study.trials


def test_options_that_are_no_mapping_are_refused(tmp_path: Path) -> None:
    study = journal_study(tmp_path / "log")
    options: Any = ["num_gpus"]
    with pytest.raises(TypeError, match=re.escape("`ray_options` must be a mapping but got [")):
        optimize(study, quick, n_generations=1, engine="ray", ray_options=options)


@pytest.mark.parametrize("storage", ["memory", "sqlite"])
def test_storages_for_one_process_or_one_machine_are_refused_before_the_first_trial(
    storage: str,
    two_nodes: Nodes,  # noqa: ARG001, is there
    tmp_path: Path,
) -> None:
    url = "memory" if storage == "memory" else f"sqlite:///{tmp_path}/study.db"
    expected = "other processes can reach" if storage == "memory" else "PostgreSQL or MySQL"
    with study_on(url) as study:
        with pytest.raises(ValueError, match=expected):
            optimize(study, quick, n_generations=1, engine="ray")
        assert not study.trials


def test_what_a_node_cannot_load_is_an_error_before_the_first_trial(
    two_nodes: Nodes,  # noqa: ARG001, is there
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = types.ModuleType("only_the_driver_has_it")
    exec("def objective(trial): return 0.0", module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    study = journal_study(tmp_path / "log")
    with pytest.raises(EngineError, match="No module named 'only_the_driver_has_it'"):
        optimize(study, module.objective, n_generations=1, engine="ray")
    assert not study.trials


def test_a_runtime_environment_that_cannot_be_had_ends_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def get(_: object) -> None:
        raise RuntimeEnvSetupError("no such package")

    monkeypatch.setattr(ray, "get", get)
    with pytest.raises(EngineError, match="no such package"):
        ray_engine._check_loaded(object())  # type: ignore[arg-type]


def test_a_storage_that_a_node_does_not_reach_is_an_error_before_the_first_trial(
    two_nodes: Nodes,  # noqa: ARG001, is there
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # the nodes have another working directory
    study = journal_study(Path("log"))
    with pytest.raises(EngineError, match="study's storage under the same address"):
        optimize(study, quick, n_generations=1, engine="ray")
    assert not study.trials


def test_a_process_that_dies_in_the_background_fails_only_its_own_future(
    two_nodes: Nodes,  # noqa: ARG001, is there
    tmp_path: Path,
) -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return 1.0

    study = journal_study(tmp_path / "log")
    tasks = ray_engine.RayTasks(
        Work(study, objective, ()), workers=None, ray_options={"max_retries": 0}
    )
    futures = [tasks.submit(study.ask()) for _ in range(2)]
    wait(futures)
    tasks.close()
    with pytest.raises(WorkerDied, match="Ray lost its worker"):
        futures[0].result()
    assert futures[1].result().failure is None


# The example


EXAMPLE = ["--population", "4", "--generations", "2", "--workers", "2", "--folder"]


def test_the_example_runs_on_a_cluster_and_resumes(
    two_nodes: Nodes,  # noqa: ARG001, is there
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for _ in range(2):
        ray_cluster.main([*EXAMPLE, str(tmp_path)])
        assert "Best of 6 trials" in capsys.readouterr().out
    assert list((tmp_path / "checkpoints").iterdir())


def test_without_a_cluster_a_local_one_is_started_and_ends_with_the_run(tmp_path: Path) -> None:
    program = (
        "import sys, ray\n"
        "from examples.ray_cluster import main\n"
        "main(sys.argv[1:])\n"
        "assert not ray.is_initialized()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *EXAMPLE, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "RAY_ADDRESS": "local", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Best of 6 trials" in done.stdout
