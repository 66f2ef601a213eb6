"""Runs the jobs that have no line yet, and writes the table of all that have one."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from examples.paper.configs import config_named
from tests.benchmarks.page import JSON, write_page
from tests.benchmarks.race import __doc__ as description
from tests.benchmarks.race.arms import ARMS
from tests.benchmarks.race.jobs import read_lines, run_apart
from tests.benchmarks.race.networks import Task
from tests.benchmarks.table import Case, Figure, Table, write_table

ACCURACIES = {"digits-noisy": 0.93, "fashion-noisy": 0.80}
"""Test accuracies to reach, chosen before the first run."""


def table_of(lines: Sequence[dict[str, Any]]) -> Table:
    """Return medians and ranges over seeds, and how many reached the accuracy."""
    first = lines[0]
    name, percent = first["config"], 100 * first["accuracy"]
    by_arm = {arm: [line for line in lines if line["arm"] == arm] for arm in ARMS}
    arms = {ARMS[arm].title: own for arm, own in by_arm.items() if own}

    def figures(key: str) -> dict[str, Figure]:
        return {
            title: Figure.of(math.inf if line[key] is None else line[key] for line in own)
            for title, own in arms.items()
        }

    reached = {
        title: Figure.of([sum(line["seconds"] is not None for line in own)])
        for title, own in arms.items()
    }
    return Table(
        f"{name}, until {percent:g} % of clean test images are right",
        (
            Case("wall time", "s", figures("seconds")),
            Case("epochs of all networks", "epochs", figures("epochs")),
            Case(f"reached, of {max(map(len, arms.values()))} seeds", "", reached),
        ),
        over=dict.fromkeys(arms, ARMS["ray"].title) if by_arm["ray"] else {},
        command=f"python -m tests.benchmarks.race {name} --accuracy {first['accuracy']:g}",
        date=max(line["date"] for line in lines),
        machine=first["machine"],
        versions={key: value for line in lines for key, value in line["versions"].items()},
    )


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.race",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", choices=ACCURACIES)
    parser.add_argument("--accuracy", type=float, help=f"to reach; {ACCURACIES}")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", type=int, default=10, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path("runs/data"), help="data sets")
    parser.add_argument(
        "--lines", type=Path, default=Path("runs/race.jsonl"), help="a line for each finished job"
    )
    parser.add_argument("--folder", type=Path, default=Path("docs"), help="of page and JSON")
    parser.add_argument("--quick", action="store_true", help="two generations of four")
    parser.add_argument("--report", action="store_true", help="run nothing, write the page")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    config = config_named(options.config)
    if options.quick:
        config = replace(config, population_size=4, n_generations=2, epochs_per_generation=1)
    accuracy = ACCURACIES[options.config] if options.accuracy is None else options.accuracy
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    if not options.report:
        done = {(line["arm"], line["seed"]) for line in read_lines(options.lines, config, accuracy)}
        for seed in seeds:
            for arm in options.arms:
                if (arm, seed) not in done:
                    run_apart(Task(config, seed, options.data), arm, accuracy, options.lines)
    lines = read_lines(options.lines, config, accuracy)
    if not lines:
        sys.exit(f"error: {options.lines} has no line of {config.name} and {accuracy:g}")
    write_table(options.folder / JSON, f"time-to-accuracy-{config.name}", table_of(lines))
    write_page(options.folder)


if __name__ == "__main__":
    main()
