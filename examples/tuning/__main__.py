"""`python -m examples.tuning`: list, run and report."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from examples.paper import ExperimentError
from examples.paper.results import not_done
from examples.runner import run_jobs
from examples.tuning.arms import ARMS, CANDIDATES, arms_named
from examples.tuning.jobs import run_job
from examples.tuning.learners import make_learner
from examples.tuning.report import write_report
from examples.tuning.results import FIRST_CHOOSING_SEED, Job, results_file
from examples.tuning.tasks import TASKS, task_named


def run(options: argparse.Namespace) -> None:
    """Run what is not done yet, seed by seed, so that a stopped run is a balanced one."""
    if options.seeds < 1 or options.workers < 1:
        raise ExperimentError(
            f"--seeds and --workers must be at least 1 but are {options.seeds}, {options.workers}."
        )
    task = task_named(options.task)
    jobs = [
        Job(task, name, arm, seed)
        for seed in range(options.first_seed, options.first_seed + options.seeds)
        for name, arm in arms_named(task.name, options.arms).items()
    ]
    to_do = not_done(jobs, results_file(options.results, task.name))
    print(f"{task.name}: {len(to_do)} of {len(jobs)} jobs to do; results in {options.results}.")
    if not to_do:
        return
    make_learner(task, to_do[0].seed, options.data)  # downloads once, or fails, before any worker
    calls = [partial(run_job, job, options.results, options.work, options.data) for job in to_do]
    run_jobs(calls, len(to_do) * task.budget, options.workers)


def show(_: argparse.Namespace) -> None:
    """Print the tasks and their arms."""
    for task in TASKS.values():
        print(f"{task.name}: {', '.join(v.name for v in task.variables)}; {task.budget} steps")
        for name, arm in ARMS[task.name].items():
            print(f"  {name:24}{arm.description}")
    print("\n--arms candidates")
    for name, arm in CANDIDATES.items():
        print(f"  {name:24}{arm.description}")


def report(options: argparse.Namespace) -> None:
    """Write tables and figures from the result files."""
    write_report(options.results, options.page)
    print(f"Wrote {options.page} from the files in {options.results}.")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.tuning", description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("list", help="show tasks and arms")
    command.set_defaults(call=show)

    command = commands.add_parser("run", help="run a task, or go on with it")
    command.add_argument("task", help="a task; `list` shows them")
    command.add_argument("--arms", nargs="+", default=["core"], help="arms or groups of them")
    command.add_argument("--seeds", type=int, default=10, help="how many seeds")
    command.add_argument(
        "--first-seed",
        type=int,
        default=0,
        help=f"the first of them; from {FIRST_CHOOSING_SEED} on they are for choosing settings",
    )
    command.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    command.add_argument("--data", type=Path, default=Path("runs/data"), help="data sets")
    command.add_argument(
        "--results", type=Path, default=Path("runs/tuning/results"), help="result files"
    )
    command.add_argument(
        "--work", type=Path, default=Path("runs/tuning/work"), help="studies and checkpoints"
    )
    command.set_defaults(call=run)

    command = commands.add_parser("report", help="write tables and figures")
    command.add_argument(
        "--results", type=Path, default=Path("docs/results/tuning"), help="result files"
    )
    command.add_argument("--page", type=Path, default=Path("docs/tuning.md"), help="what to write")
    command.set_defaults(call=report)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    try:
        options.call(options)
    except ExperimentError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
