"""Compare the two programs: best accuracy on validation data, and seconds from start to end.

`python -m examples.migrating` takes five seeds of each, and needs `ray[tune]`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence

import optuna
from rich.console import Console
from rich.table import Table

from examples.migrating import with_epbt_optuna, with_ray_tune

PROGRAMS: dict[str, Callable[[int, int], float]] = {
    "Ray Tune": with_ray_tune.run,
    "epbt_optuna": with_epbt_optuna.run,
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--generations", type=int, default=20)
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    home = os.getcwd()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in PROGRAMS}
    for seed in range(options.seeds):
        for name, run in PROGRAMS.items():
            with tempfile.TemporaryDirectory() as folder:
                os.chdir(folder)  # both write into the working directory
                start = time.perf_counter()
                accuracy = run(options.generations, seed)
                found[name].append((accuracy, time.perf_counter() - start))
                os.chdir(home)
    table = Table("program", "accuracy, mean and each", "seconds, median")
    for name, results in found.items():
        accuracies, seconds = zip(*results, strict=True)
        shown = ", ".join(f"{accuracy:.4f}" for accuracy in accuracies)
        mean = statistics.mean(accuracies)
        table.add_row(name, f"{mean:.4f} ({shown})", f"{statistics.median(seconds):.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
