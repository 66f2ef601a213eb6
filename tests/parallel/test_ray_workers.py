"""How many Ray tasks run at once and on which device, and the example that runs on a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import ray
import torch

from epbt_optuna._internal.optuna import trial_id_of
from epbt_optuna.parallel import current_device
from epbt_optuna.parallel.devices import Slot, pin_to_device
from epbt_optuna.parallel.engines import ray as ray_engine
from epbt_optuna.parallel.worker import Work
from examples import ray_cluster
from tests.parallel.clusters import PATIENT, Nodes
from tests.parallel.runs import journal_study, quick

# A cluster takes its time to start: one is enough.
pytestmark = pytest.mark.xdist_group("ray")


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


# The example


EXAMPLE = ["--population", "4", "--generations", "2", "--workers", "2", "--folder"]


def test_the_example_runs_on_a_cluster_and_resumes(
    two_nodes: Nodes,  # noqa: ARG001, is there
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for _ in range(2):
        ray_cluster.main([*EXAMPLE, str(tmp_path)])
        assert "Fittest of 8 trials" in capsys.readouterr().out
    assert list((tmp_path / "checkpoints").iterdir())


def test_a_second_close_asks_nothing_of_a_ray_that_was_shut_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cancelled: list[object] = []
    is_up = [True]

    def cancel(task: object, force: bool) -> None:
        assert is_up, "No owner found for object."
        assert force
        cancelled.append(task)

    shown = SimpleNamespace(is_initialized=lambda: bool(is_up), cancel=cancel, shutdown=is_up.clear)
    monkeypatch.setattr(ray_engine, "ray", shown)
    engine = object.__new__(ray_engine.RayTasks)
    engine._running, engine._connected_here = {7: "task"}, True  # type: ignore[dict-item]
    engine.close()
    engine.close()
    assert cancelled == ["task"]


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
        env={**os.environ, **PATIENT, "RAY_ADDRESS": "local", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Fittest of 8 trials" in done.stdout
