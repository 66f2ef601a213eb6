"""`python -m examples.tuning`: list, run and report."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from examples import commands
from examples.paper.results import not_done
from examples.runner import run_jobs
from examples.tuning.arms import ARMS, CANDIDATES, Arm, arms_named
from examples.tuning.jobs import run_job
from examples.tuning.learners import make_learner
from examples.tuning.report import write_report
from examples.tuning.results import FIRST_CHOOSING_SEED, Job, results_file
from examples.tuning.tasks import TASKS, task_named


def run(options: argparse.Namespace) -> None:
    """Run what is not done yet, seed by seed, so that a stopped run is a balanced one."""
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
    run_jobs(calls, len(to_do) * task.budget, options.workers, options.work / task.name)


def show(_: argparse.Namespace) -> None:
    """Print the tasks and their arms."""
    for task in TASKS.values():
        print(f"{task.name}: {', '.join(v.name for v in task.variables)}; {task.budget} steps")
        show_arms(ARMS[task.name])
    print(f"\n--arms candidates, on seeds from {FIRST_CHOOSING_SEED} on")
    show_arms(CANDIDATES)


def show_arms(arms: Mapping[str, Arm]) -> None:
    commands.print_described({name: arm.description for name, arm in arms.items()}, "  ")


def main(arguments: Sequence[str] | None = None) -> None:
    parser, _ = commands.make_parser(
        "tuning",
        of="task",
        show=show,
        run=run,
        report=write_report,
        results=Path("docs/results/tuning"),
        page=Path("docs/tuning.md"),
    )
    commands.main(parser, arguments)


if __name__ == "__main__":
    main()
