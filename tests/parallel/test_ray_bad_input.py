"""Mistakes that the Ray engine names before the first trial."""

from __future__ import annotations

import os
import re
import signal
import sys
import types
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import optuna
import pytest
import ray
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from ray.exceptions import RuntimeEnvSetupError

from epbt_optuna import EPBTSampler
from epbt_optuna.parallel import optimize
from epbt_optuna.parallel.engines import ray as ray_engine
from epbt_optuna.parallel.engines.protocol import EngineError, WorkerDied
from epbt_optuna.parallel.worker import Work
from tests.parallel.clusters import Nodes
from tests.parallel.ray_runs import study_on
from tests.parallel.runs import journal_study, quick

# A cluster takes its time to start: one is enough.
pytestmark = pytest.mark.xdist_group("ray")


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
    log = JournalFileBackend("log", JournalFileOpenLock("log"))  # which stays relative
    study = optuna.create_study(storage=JournalStorage(log), sampler=EPBTSampler(6, seed=0))
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
