"""The command line of the experiments: list, run, report."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from examples.paper import ExperimentError

Command: TypeAlias = Callable[[argparse.Namespace], None]


def make_parser(
    package: str,
    *,
    of: str,
    show: Command,
    run: Command,
    report: Callable[[Path, Path], None],
    results: Path,
    page: Path,
) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """Make the parser of `python -m examples.PACKAGE`, and hand out that of `run` for more options.

    Args:
        package: The package's name in `examples`; its runs are kept in `runs/PACKAGE`.
        of: What one run is of, such as "config".
        show: What `list` calls.
        run: What `run` calls, with at least one seed and one worker.
        report: What `report` calls, with the folder of result files and the page to write.
        results: This folder, by default.
        page: This page, by default.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m examples.{package}", description="List, run and report the experiments."
    )
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("list", help=f"show every {of} and arm")
    command.set_defaults(call=show)

    command = commands.add_parser("report", help="write tables and figures")
    command.add_argument("--results", type=Path, default=results, help="result files")
    command.add_argument("--page", type=Path, default=page, help="what to write")
    command.set_defaults(call=partial(_report, report))

    command = commands.add_parser("run", help=f"run a {of}, or go on with it")
    command.add_argument(of, help="`list` shows them")
    command.add_argument("--arms", nargs="+", default=["core"], help="arms or groups of them")
    command.add_argument("--seeds", type=int, default=10, help="how many seeds")
    command.add_argument("--first-seed", type=int, default=0, help="the first of them")
    command.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    command.add_argument("--data", type=Path, default=Path("runs/data"), help="data sets")
    runs = Path("runs") / package
    command.add_argument("--results", type=Path, default=runs / "results", help="result files")
    command.add_argument("--work", type=Path, default=runs / "work", help="studies and checkpoints")
    command.set_defaults(call=partial(_run, run))
    return parser, command


def _run(run: Command, options: argparse.Namespace) -> None:
    if options.seeds < 1 or options.workers < 1:
        raise ExperimentError(
            f"--seeds and --workers must be at least 1 but are {options.seeds}, {options.workers}."
        )
    run(options)


def _report(report: Callable[[Path, Path], None], options: argparse.Namespace) -> None:
    report(options.results, options.page)
    print(f"Wrote {options.page} from the files in {options.results}.")


def print_described(descriptions: Mapping[str, str], indent: str = "") -> None:
    """Print names beside their descriptions, in two columns."""
    width = max(map(len, descriptions), default=0) + 2
    for name, description in descriptions.items():
        print(f"{indent}{name:{width}}{description}")


def main(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> None:
    """Carry out a command line; what cannot be done ends the process with one sentence."""
    options = parser.parse_args(arguments)
    try:
        options.call(options)
    except ExperimentError as error:
        sys.exit(f"error: {error}")
