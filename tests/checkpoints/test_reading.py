"""Reading a state: where its tensors go, what maps them, and what an error says."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch

from epbt_optuna import CheckpointError, CheckpointStore
from epbt_optuna.checkpoints import arrays, states

ABSENT = f"cuda:{torch.cuda.device_count()}"


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path)


@pytest.fixture
def trial(checkpoints: CheckpointStore) -> optuna.Trial:
    trial = optuna.create_study().ask()
    checkpoints.save(trial, {"w": torch.ones(1000), "a": np.ones(1000)})
    return trial


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(
    "device", [ABSENT, torch.device(ABSENT), "nonsense", "xpu:99", "cuda:99"], ids=str
)
def test_a_device_that_is_not_here_is_an_error_about_map_location(
    checkpoints: CheckpointStore, trial: optuna.Trial, device: Any, mapped: bool
) -> None:
    with pytest.raises(
        ValueError, match=rf"`map_location` must be .* here but got '{device}': \w+"
    ):
        checkpoints.load(trial, map_location=device, mmap=mapped)


def refuse(storage: object, location: str) -> None:  # noqa: ARG001
    raise RuntimeError(f"No place for what was on {location}.\nA second line.")


@pytest.mark.parametrize(
    ("map_location", "reason"),
    [
        (refuse, r"torch cannot read it here: RuntimeError: No place for what was on cpu\.\.$"),
        ({"cpu": "cuda:99"}, r"torch cannot read it here: \w+: .*(cuda|CUDA|device)"),
    ],
)
def test_other_map_locations_fail_with_torch_s_reason(
    checkpoints: CheckpointStore, trial: optuna.Trial, map_location: Any, reason: str
) -> None:
    with pytest.raises(CheckpointError, match=reason):
        checkpoints.load(trial, map_location=map_location)


@pytest.mark.parametrize("map_location", ["cpu", torch.device("cpu"), None, {"cpu": "cpu"}])
def test_a_state_is_read_where_map_location_says(
    checkpoints: CheckpointStore, trial: optuna.Trial, map_location: Any
) -> None:
    assert torch.equal(checkpoints.load(trial, map_location=map_location)["w"], torch.ones(1000))


@pytest.mark.parametrize(
    "reason",
    [
        "[enforce fail at alloc_cpu.cpp:125] err == 0. DefaultCPUAllocator: can't allocate memory",
        "unable to mmap 4 bytes from file </dev/fd/9>: Cannot allocate memory (12)",
        "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory",
    ],
)
def test_too_little_memory_is_no_damage(
    checkpoints: CheckpointStore,
    trial: optuna.Trial,
    monkeypatch: pytest.MonkeyPatch,
    reason: str,
) -> None:
    def load(*_: object, **__: object) -> None:
        raise RuntimeError(reason)

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(MemoryError, match="memory"):
        checkpoints.load(trial)


@pytest.fixture
def _user_maps_shared() -> Any:
    torch.serialization.set_default_mmap_options(mmap.MAP_SHARED)
    yield
    assert torch.serialization.get_default_mmap_options() == mmap.MAP_SHARED
    torch.serialization.set_default_mmap_options(mmap.MAP_PRIVATE)


@pytest.mark.usefixtures("_user_maps_shared")
def test_training_does_not_change_the_file_though_the_user_maps_shared(
    checkpoints: CheckpointStore, trial: optuna.Trial
) -> None:
    state = checkpoints.load(trial, mmap=True)
    state["w"] += 1
    state["a"] += 1
    again = checkpoints.load(trial)
    assert torch.equal(again["w"], torch.ones(1000))
    assert np.array_equal(again["a"], np.ones(1000))


@pytest.mark.usefixtures("_user_maps_shared")
def test_threads_that_map_at_a_time_map_privately_and_put_the_user_s_option_back(
    checkpoints: CheckpointStore, trial: optuna.Trial
) -> None:
    def work() -> None:
        for _ in range(20):
            checkpoints.load(trial, mmap=True)["w"].add_(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(checkpoints.load(trial)["w"], torch.ones(1000))


def test_what_the_user_allows_torch_to_read_is_left_as_it_is(
    checkpoints: CheckpointStore, trial: optuna.Trial
) -> None:
    class Own:
        pass

    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals([Own, arrays.rebuild_array])
    for _ in range(2):
        checkpoints.load(trial)
    allowed = torch.serialization.get_safe_globals()
    assert Own in allowed
    assert all(name.__module__ != "numpy" for name in allowed if not isinstance(name, tuple))
    torch.serialization.clear_safe_globals()


def call_of(function: Callable[..., Any], *arguments: Any) -> Any:
    """An object that is pickled as a call."""

    class Call:
        def __reduce__(self) -> Any:
            return function, arguments

    return Call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: call_of(
            arrays.rebuild_from_bytes, torch.zeros(4), call_of(arrays.rebuild_dtype, "O"), 9
        ),
        lambda: call_of(arrays.rebuild_from_bytes, torch.zeros(0), np.dtype("f8"), (1 << 40,)),
        lambda: call_of(arrays.rebuild_array, "no tensor"),
        lambda: call_of(arrays.rebuild_dtype, [("a", "no dtype")]),
    ],
    ids=["objects", "too few bytes", "no tensor", "no dtype"],
)
def test_what_rebuilds_arrays_refuses_what_would_not_be_one(
    checkpoints: CheckpointStore,
    trial: optuna.Trial,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[], Any],
) -> None:
    """As in a file that somebody has written who can write its digest, too."""
    with monkeypatch.context() as without_checks:
        without_checks.setattr(states, "blocks_in", lambda _: ([], True))
        checkpoints.save(trial, call())
    with pytest.raises(CheckpointError, match="torch cannot read it here"):
        checkpoints.load(trial)
