"""Making tables: measured, printed, put into the JSON of a folder; and the command that does so."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

import optuna

from tests.benchmarks.measure import machine, versions
from tests.benchmarks.page import JSON, medians, ratios, write_page
from tests.benchmarks.table import Table, write_table

Benchmark: TypeAlias = Callable[[bool], Table]
"""Measures; the argument is whether to do so at the smallest size, in seconds."""


def make(program: str, module: str, name: str, folder: Path | None, *, quick: bool) -> None:
    """Make one table in this process; without a folder it is printed only."""
    benchmark: Benchmark = import_module(f"tests.benchmarks.{module}").BENCHMARKS[name]
    table = replace(
        benchmark(quick),
        command=f"{program} {name}",
        date=datetime.now(timezone.utc).date().isoformat(),
        machine=machine(),
        versions=versions(),
        quick=quick,
    )
    sys.stdout.write(f"\n{ratios(table)}\n\n{medians(table)}\n")
    if folder is not None:
        write_table(folder / JSON, name, table)


def command_line(
    package: str,
    description: str,
    modules: Mapping[str, str],
    arguments: Sequence[str] | None,
    refuse: Callable[[bool], str | None] = lambda _: None,
) -> None:
    """Make the tables that are asked for, or all, and the page.

    Args:
        package: What `python -m` is given.
        description: For `--help`.
        modules: By table, the module that has it; several are made in a process each, as one
            may need what another must not have imported.
        arguments: Of the command.
        refuse: Told whether the size is the smallest, returns why nothing can be made here.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {package}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(modules))
    parser.add_argument("--quick", "--small", action="store_true", help="the smallest size")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page")
    parser.add_argument("--folder", type=Path, help="of page and JSON; docs, unless --quick")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(modules):
        parser.error(f"no such table: {', '.join(sorted(unknown))}; there are {', '.join(modules)}")
    if not options.page and (reason := refuse(options.quick)) is not None:
        sys.exit(f"error: {reason}")
    folder = options.folder or (None if options.quick else Path("docs"))
    names = [] if options.page else options.names or list(modules)
    failed = []
    if len(names) == 1:
        make(f"python -m {package}", modules[names[0]], names[0], folder, quick=options.quick)
    else:
        flags = [*(["--quick"] if options.quick else []), *(["--folder", folder] if folder else [])]
        for name in names:
            command = [sys.executable, "-m", package, name, *flags]
            if subprocess.run(command, check=False).returncode != 0:
                failed.append(name)
    if folder is not None:
        write_page(folder)
    if failed:
        sys.exit(f"error: not made: {', '.join(failed)}")


def quiet() -> None:
    """Silence what runs say about themselves, and compute in one thread."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module="epbt_optuna")
    os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported, here and by workers
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)
