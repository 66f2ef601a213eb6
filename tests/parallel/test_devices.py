"""Which worker is on which device, and what it may use of the machine."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from epbt_optuna.parallel import current_device, optimize
from epbt_optuna.parallel import devices as devices_module
from epbt_optuna.parallel.devices import Slot, make_slots, pin_to_device
from tests.parallel.runs import journal_study, quick

pytestmark = pytest.mark.usefixtures("untraced_workers")


@pytest.fixture
def libraries() -> tuple[str, ...]:
    return ("torch",)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with two GPUs, one of each other kind, and eight cores."""
    monkeypatch.setattr(devices_module, "_n_devices", {"cuda": 2, "xpu": 1, "mps": 1}.get)
    monkeypatch.setattr(devices_module, "_n_cores", lambda: 8)
    return monkeypatch


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize(
    ("workers", "devices", "workers_per_device", "places"),
    [
        (None, None, 1, "cuda:0 cuda:1"),
        (None, None, 2, "cuda:0 cuda:1 cuda:0 cuda:1"),
        (3, None, 1, "cuda:0 cuda:1 cuda:0"),
        (None, ["cuda:0", "cuda:0", "cuda:1"], 1, "cuda:0 cuda:0 cuda:1"),
        (4, ["cuda:1", "cpu"], 2, "cuda:1 cpu cuda:1 cpu"),
        (1, [torch.device("cuda", 1)], 1, "cuda:1"),
        (None, ["cuda"], 2, "cuda:0 cuda:0"),
        (None, ["xpu:0", "xpu", "mps", "mps:0"], 1, "xpu:0 xpu:0 mps mps"),
        (1, [torch.device("mps")], 1, "mps"),
    ],
)
def test_each_worker_has_a_device(
    workers: int | None,
    devices: list[str | torch.device] | None,
    workers_per_device: int,
    places: str,
) -> None:
    slots = make_slots(workers, devices, workers_per_device)
    assert [slot.device for slot in slots] == places.split()
    assert [slot.index for slot in slots] == list(range(len(slots)))
    assert {slot.n_threads for slot in slots} == {8 // len(slots)}


def test_without_a_gpu_there_is_a_worker_a_core_on_the_cpu(gpus: pytest.MonkeyPatch) -> None:
    gpus.setattr(devices_module, "_n_devices", lambda _: 0)
    assert [slot.device for slot in make_slots(None, None, 1)] == ["cpu"] * 8
    assert len(make_slots(None, None, 3)) == 3
    assert [slot.n_threads for slot in make_slots(16, None, 1)] == [1] * 16


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, None, 1), "`workers` must be at least 1 but got 0"),
        ((None, None, 0), "`workers_per_device` must be at least 1 but got 0"),
        ((None, [], 1), "`devices` must name at least one device"),
        ((None, ["cuda:0", "gpu:1"], 1), "'cuda:<index>' each but got 'gpu:1'"),
        ((None, ["cuda:"], 1), "'cuda:<index>' each but got 'cuda:'"),
        ((None, ["cuda:2"], 1), "names 'cuda:2' but torch finds 2 CUDA devices here"),
        ((None, ["xpu:1"], 1), "names 'xpu:1' but torch finds 1 XPU devices here"),
        ((None, ["mps:1"], 1), "names 'mps:1' but torch finds 1 MPS devices here"),
        ((3, ["cpu", "cpu"], 1), "`workers` must be as many as .*, which are 2, but got 3"),
        ((4, None, 2), "`workers_per_device` must be left out if `workers` is given without"),
    ],
)
def test_what_contradicts_the_machine_or_itself_is_refused(
    arguments: tuple[int | None, list[str | torch.device] | None, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_slots(*arguments)


def test_devices_must_be_a_list() -> None:
    with pytest.raises(TypeError, match=r"must be a list such as \['cuda:0', 'cuda:1'\], not 'cpu"):
        make_slots(None, "cpu", 1)


def test_a_device_is_refused_before_the_first_trial() -> None:
    study = optuna.create_study()
    with pytest.raises(ValueError, match="torch finds"):
        optimize(study, quick, 3, devices=["cuda:99"], engine="thread")
    assert not study.trials


def test_outside_of_workers_the_device_is_the_cpu() -> None:
    assert current_device() == torch.device("cpu")


def test_threads_are_on_their_own_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices_module, "_n_devices", lambda _: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    study = optuna.create_study()
    both_run = threading.Barrier(2)

    def objective(trial: optuna.Trial) -> float:
        both_run.wait(timeout=60)
        trial.set_user_attr("device", str(current_device()))
        return 0.0

    optimize(study, objective, 4, devices=["cuda:0", "cuda:1"], engine="thread")
    devices = sorted(trial.user_attrs["device"] for trial in study.trials)
    assert devices == ["cuda:0", "cuda:0", "cuda:1", "cuda:1"]
    assert devices == sorted(trial.system_attrs["epbt:device"] for trial in study.trials)
    assert current_device() == torch.device("cpu")


def test_a_worker_on_an_accelerator_makes_it_its_threads_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen: list[str] = []
    monkeypatch.setattr(devices_module, "_current", devices_module._Current())
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.xpu, "set_device", chosen.append)
    for device in ("cuda:1", "xpu:0", "mps"):
        pin_to_device(Slot(0, device, 1))
        assert current_device() == torch.device(device)
    assert chosen == ["cuda:1", "xpu:0"], "there is one mps, and nothing to choose"


def threads_of_a_worker(folder: Path, n_workers: int) -> dict[str, Any]:
    """Return what a worker's libraries compute with, asked of themselves."""
    study = journal_study(folder / "log")

    def objective(trial: optuna.Trial) -> float:
        import numpy as np
        from threadpoolctl import threadpool_info

        np.ones((8, 8)) @ np.ones((8, 8))
        pools = {pool["internal_api"]: pool["num_threads"] for pool in threadpool_info()}
        trial.set_user_attr("threads", {**pools, "torch": torch.get_num_threads()})
        return 0.0

    optimize(study, objective, 1, devices=["cpu"] * n_workers)
    threads: dict[str, Any] = study.trials[0].user_attrs["threads"]
    assert threads.keys() >= {"openblas", "openmp", "torch"}, "or nothing is shown"
    return threads


def test_processes_do_not_fight_over_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NumPy is loaded with this package, before a worker knows what it is to do."""
    for name in devices_module._THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(devices_module, "_n_cores", lambda: 2)
    before = dict(os.environ)
    assert set(threads_of_a_worker(tmp_path, 2).values()) == {1}
    assert os.environ == before, "who calls `optimize` computes with as many threads as ever"


def test_the_users_own_number_of_threads_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in devices_module._THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(devices_module, "_n_cores", lambda: 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert set(threads_of_a_worker(tmp_path, 1).values()) == {2}
