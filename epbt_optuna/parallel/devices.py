"""Which worker computes on which device."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from epbt_optuna._internal.checks import check_integer
from epbt_optuna._internal.extras import needs

if TYPE_CHECKING:
    import torch

__all__ = [
    "Slot",
    "current_device",
    "current_device_name",
    "limit_threads",
    "make_slots",
    "pin_to_device",
]

_DEVICE = re.compile(r"cpu|cuda:(?P<index>\d+)")


@dataclass(frozen=True)
class Slot:
    """The place of one worker.

    Attributes:
        index: Its number among the workers, from 0.
        device: "cpu" or "cuda:<index>".
        n_threads: For how many threads of computation there are cores, where a worker has a
            process of its own.
    """

    index: int
    device: str
    n_threads: int


class _Current(threading.local):
    device = "cpu"


_current = _Current()


def current_device() -> torch.device:
    """Return the device that this worker is pinned to; the CPU outside of any worker.

    For use inside an objective that `epbt_optuna.parallel.optimize` runs.

    Raises:
        ImportError: torch is not installed.
    """
    with needs("torch", "`current_device`"):
        import torch  # costs seconds: only where it is used

    return torch.device(current_device_name())


def current_device_name() -> str:
    """Return the name of the device that this thread is pinned to."""
    return _current.device


def make_slots(
    workers: int | None, devices: Sequence[str | torch.device] | None, workers_per_device: int
) -> tuple[Slot, ...]:
    """Return one slot a worker, neighbours on different devices; arguments as for `optimize`."""
    check_integer("workers_per_device", workers_per_device, at_least=1)
    if workers is not None:
        check_integer("workers", workers, at_least=1)
    if devices is None:
        places = _default_places(workers, workers_per_device)
    else:
        places = _checked_devices(devices) * workers_per_device
        if workers is not None and workers != len(places):
            raise ValueError(
                f"`workers` must be as many as `devices` × `workers_per_device`, which are "
                f"{len(places)}, but got {workers}. Leave it out."
            )
    n_threads = max(1, _n_cores() // len(places))
    return tuple(Slot(index, device, n_threads) for index, device in enumerate(places))


def pin_to_device(slot: Slot) -> None:
    """Pin this thread to the slot's device."""
    _current.device = slot.device
    if slot.device != "cpu":
        import torch

        torch.cuda.set_device(slot.device)


def limit_threads(slot: Slot) -> None:
    """Keep this process from using the other workers' cores, unless the user has set a number."""
    if slot.device != "cpu" or "OMP_NUM_THREADS" in os.environ:
        return
    os.environ["OMP_NUM_THREADS"] = str(slot.n_threads)  # what torch reads when it is imported
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(slot.n_threads)


def _default_places(workers: int | None, workers_per_device: int) -> list[str]:
    if workers is not None and workers_per_device > 1:
        raise ValueError(
            f"`workers_per_device` must be left out if `workers` is given without `devices`, but "
            f"got {workers_per_device}."
        )
    has_torch = importlib.util.find_spec("torch") is not None  # without it, the CPU works too
    devices = [f"cuda:{index}" for index in range(_n_cuda_devices() if has_torch else 0)]
    if workers is not None:
        devices = devices or ["cpu"]
        return [devices[index % len(devices)] for index in range(workers)]
    if devices:
        return devices * workers_per_device
    return ["cpu"] * (workers_per_device if workers_per_device > 1 else _n_cores())


def _checked_devices(devices: Sequence[str | torch.device]) -> list[str]:
    if isinstance(devices, str) or not isinstance(devices, Sequence):
        raise TypeError(f"`devices` must be a list such as ['cuda:0', 'cuda:1'], not {devices!r}.")
    if not devices:
        raise ValueError("`devices` must name at least one device but is empty.")
    names = [str(device) for device in devices]
    matches = [_DEVICE.fullmatch(name) for name in names]
    for name, match in zip(names, matches, strict=True):
        if match is None:
            raise ValueError(f"`devices` must be 'cpu' or 'cuda:<index>' each but got {name!r}.")
    indices = [int(match["index"]) for match in matches if match and match["index"]]
    if indices:
        with needs("torch", f"`devices={names}`"):
            n_there = _n_cuda_devices()
        if max(indices) >= n_there:
            raise ValueError(
                f"`devices` names 'cuda:{max(indices)}' but torch finds {n_there} CUDA devices "
                "here."
            )
    return names


def _n_cuda_devices() -> int:
    import torch

    return torch.cuda.device_count()


def _n_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # fewer than the machine has, under taskset or Slurm
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
