"""`python -m examples.paper`: list, run and report the experiments."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from examples import commands
from examples.paper import ExperimentError
from examples.paper.arms import GROUPS, arms_named
from examples.paper.configs import CONFIGS, Config, config_named
from examples.paper.data import load
from examples.paper.jobs import run_job
from examples.paper.kinds import ReplayArm
from examples.paper.replayed import schedule_for
from examples.paper.report import write_report
from examples.paper.results import Job, not_done, results_file
from examples.runner import run_jobs


def run(options: argparse.Namespace) -> None:
    """Run what is not done yet, seed by seed, so that a stopped run is a balanced one."""
    config = config_named(options.config)
    jobs = [
        Job(config, name, arm, seed)
        for seed in range(options.first_seed, options.first_seed + options.seeds)
        for name, arm in arms_named(options.arms).items()
    ]
    to_do = not_done(jobs, results_file(options.results, config.name))
    print(f"{config.name}: {len(to_do)} of {len(jobs)} jobs to do; results in {options.results}.")
    if not to_do:
        return
    check_devices(options.devices)
    for job in to_do:
        if isinstance(job.arm, ReplayArm):
            schedule_for(job, options.results)  # is there, or nothing starts
    load(config.dataset, options.data)  # downloads once, or fails, before any worker starts
    calls = [
        partial(
            run_job,
            job,
            options.results,
            options.work,
            options.data,
            options.devices[i % len(options.devices)],
        )
        for i, job in enumerate(to_do)
    ]
    n_epochs = sum(job.n_epochs for job in to_do)
    run_jobs(calls, n_epochs, options.workers, options.work / config.name)


def check_devices(devices: Sequence[str]) -> None:
    """Raise unless torch has every device."""
    try:
        for device in devices:
            torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ExperimentError(f"Device {device!r} cannot be used: {error}") from error


def show(_: argparse.Namespace) -> None:
    """Print the configs and arms there are."""
    commands.print_described({name: described(config) for name, config in CONFIGS.items()})
    for group, arms in GROUPS.items():
        print(f"\n--arms {group}")
        commands.print_described({name: arm.description for name, arm in arms.items()}, "  ")


def described(config: Config) -> str:
    noise = f", {config.noise_rate:.0%} {config.noise} noise" if config.noise_rate else ""
    epochs = f"{config.n_epochs} epochs, {config.n_epochs_of_epbt} with EPBT"
    return f"{config.dataset}, {config.model}{noise}; {epochs}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser, run_parser = commands.make_parser(
        "paper",
        of="config",
        show=show,
        run=run,
        report=write_report,
        results=Path("docs/results"),
        page=Path("docs/results.md"),
    )
    run_parser.add_argument("--devices", nargs="+", default=["cpu"], help="such as cuda:0 cuda:1")
    commands.main(parser, arguments)


if __name__ == "__main__":
    main()
