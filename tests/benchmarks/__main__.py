"""`make bench`: what the library costs, beside its rivals; nothing here passes or fails.

    python -m tests.benchmarks                       # every table, then the page
    python -m tests.benchmarks loss checkpoints      # some of them; the others' figures stay
    python -m tests.benchmarks loss --quick          # in seconds, printed and not kept
    python -m tests.benchmarks --page                # the page again, from its JSON

Run it on a machine that does nothing else. Each table is made in a process of its own, where its
ways take turns, so that what slows the machine down for a while slows all of them.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path

import optuna

from tests.benchmarks.measure import Benchmark, machine, versions
from tests.benchmarks.page import JSON, medians, ratios, write_page
from tests.benchmarks.table import write_table

MODULES = {
    "ask-tell": "samplers",
    "loss": "loss",
    "training-step": "loss",
    "checkpoints": "checkpoints",
    "member-iteration": "ray_tune",
    "workers": "parallel",
    "barrier": "parallel",
    "storage-calls": "storages",
    "driver": "storages",
    "tracking": "tracking",
    "tracking-memory": "tracking",
    "tracking-close": "tracking",
    "lineage": "samplers",
    "data-loading": "data_loading",
}
"""Where each table is made, in the order in which they are: one module may need what another
must not import."""


def benchmark_named(name: str) -> Benchmark:
    module = import_module(f"tests.benchmarks.{MODULES[name]}")
    benchmark: Benchmark = module.BENCHMARKS[name]
    return benchmark


def make(name: str, folder: Path | None, *, quick: bool) -> None:
    """Make one table in this process: print it, and put it into the folder's JSON."""
    table = replace(
        benchmark_named(name).run(quick),
        command=f"python -m tests.benchmarks {name}",
        date=datetime.now(timezone.utc).date().isoformat(),
        machine=machine(),
        versions=versions(),
        quick=quick,
    )
    sys.stdout.write(f"\n{ratios(table)}\n\n{medians(table)}\n")
    if folder is not None:
        write_table(folder / JSON, name, table)


def quiet() -> None:
    """Silence what runs say about themselves, and compute in one thread."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("epbt_optuna").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="epbt_optuna")
    os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported, here and by workers


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MODULES))
    parser.add_argument("--quick", action="store_true", help="the smallest size")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page")
    parser.add_argument("--folder", type=Path, help="of page and JSON; docs, unless --quick")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(MODULES):
        parser.error(f"no such table: {', '.join(sorted(unknown))}; there are {', '.join(MODULES)}")
    folder = options.folder or (None if options.quick else Path("docs"))
    names = [] if options.page else options.names or list(MODULES)
    failed = []
    if len(names) == 1:
        make(names[0], folder, quick=options.quick)
    else:
        flags = [*(["--quick"] if options.quick else []), *(["--folder", folder] if folder else [])]
        for name in names:
            command = [sys.executable, "-m", "tests.benchmarks", name, *flags]
            if subprocess.run(command, check=False).returncode != 0:
                failed.append(name)
    if folder is not None:
        write_page(folder)
    if failed:
        sys.exit(f"error: not made: {', '.join(failed)}")


if __name__ == "__main__":
    quiet()
    main()
