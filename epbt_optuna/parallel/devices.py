"""Which worker computes on which device."""

from __future__ import annotations

import importlib.util
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    "limited_threads",
    "make_slots",
    "pin_to_device",
]

_DEVICE = re.compile(r"cpu|(?P<kind>cuda|mps|xpu)(:(?P<index>\d+))?")
_WITH_INDEX = ("cuda", "xpu")  # there is one "mps"
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_environment = threading.Lock()


@dataclass(frozen=True)
class Slot:
    """The place of one worker.

    Attributes:
        index: Its number among the workers, from 0.
        device: "cpu", "mps", "cuda:<index>" or "xpu:<index>".
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
    kind = slot.device.partition(":")[0]
    if kind in _WITH_INDEX:
        import torch

        getattr(torch, kind).set_device(slot.device)


@contextmanager
def limited_threads(slot: Slot) -> Iterator[None]:
    """Keep a process that is started here from using the other workers' cores.

    OpenMP and the BLAS libraries read how many threads to use when they are loaded, which NumPy
    does: so the environment has to say it before the process is there. A number that the user has
    set stays; and who sets OpenMP's has said it for all.
    """
    with _environment:  # it is the whole process's: one thread at a time starts a worker
        limited = slot.device == "cpu" and "OMP_NUM_THREADS" not in os.environ
        names = [name for name in _THREAD_VARIABLES if limited and name not in os.environ]
        os.environ.update(dict.fromkeys(names, str(slot.n_threads)))
        try:
            yield
        finally:
            for name in names:
                del os.environ[name]


def _default_places(workers: int | None, workers_per_device: int) -> list[str]:
    if workers is not None and workers_per_device > 1:
        raise ValueError(
            f"`workers_per_device` must be left out if `workers` is given without `devices`, but "
            f"got {workers_per_device}."
        )
    has_torch = importlib.util.find_spec("torch") is not None  # without it, the CPU works too
    devices = [f"cuda:{index}" for index in range(_n_devices("cuda") if has_torch else 0)]
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
    return [_checked_device(name, f"`devices={names}`") for name in names]


def _checked_device(name: str, argument: str) -> str:
    match = _DEVICE.fullmatch(name)
    if match is None:
        raise ValueError(
            "`devices` must be 'cpu', 'mps', 'xpu:<index>' or 'cuda:<index>' each but got "
            f"{name!r}."
        )
    kind, index = match["kind"], int(match["index"] or 0)  # "cuda" is the first, as for torch
    if kind is None:
        return name
    with needs("torch", argument):
        n_there = _n_devices(kind)
    if index >= n_there:
        raise ValueError(
            f"`devices` names {name!r} but torch finds {n_there} {kind.upper()} devices here."
        )
    return f"{kind}:{index}" if kind in _WITH_INDEX else kind


def _n_devices(kind: str) -> int:
    import torch

    module = getattr(torch, kind)
    return int(module.device_count())


def _n_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # fewer than the machine has, under taskset or Slurm
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
