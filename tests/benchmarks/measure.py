"""How everything here is measured: the ways take turns, on a machine that is described."""

from __future__ import annotations

import gc
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

from tests.benchmarks.table import Figure

_ALWAYS = ("epbt-optuna", "numpy", "optuna")
_IF_USED = ("cmaes", "mlflow", "ray", "torch", "torchvision", "triton")


def seconds(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


def interleaved(
    ways: Mapping[str, Callable[[], object]], n: int, n_warm: int = 1
) -> dict[str, list[float]]:
    """Time ways that take turns; return the seconds of each.

    Whatever slows the machine down for a while then slows all of them. Each turn begins with
    another one, so that none always runs behind the same other.
    """
    names = list(ways)
    times: dict[str, list[float]] = {name: [] for name in names}
    gc.collect()
    for turn in range(-n_warm, n):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            spent = seconds(ways[name])
            if turn >= 0:
                times[name].append(spent)
    return times


def figures(times: Mapping[str, list[float]], scale: float = 1.0) -> dict[str, Figure]:
    return {name: Figure.of(own, scale) for name, own in times.items()}


def machine() -> dict[str, str]:
    """Describe this machine, without its name or any path."""
    n_usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    described = {
        "CPU": _cpu(),
        "cores": str(n_usable),
        "memory": f"{memory:.0f} GiB",
        "system": platform.system(),
        "temporary files": _file_system(tempfile.gettempdir()),
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        described["GPU"] = torch.cuda.get_device_name()
    return described


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that are in use."""
    used = [*_ALWAYS, *(name for name in _IF_USED if name in sys.modules)]
    return {"Python": platform.python_version(), **{name: version(name) for name in sorted(used)}}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _file_system(place: str) -> str:
    """Return the kind of file system a folder is on, such as `ext4`, or `tmpfs` in memory."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    around = [m for m in mounts if Path(place).resolve().is_relative_to(m[1])]
    return max(around, key=lambda mount: len(mount[1]))[2] if around else "unknown"
