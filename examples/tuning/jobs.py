"""Jobs: one arm on one seed, run to its line of the result file in a worker process."""

from __future__ import annotations

import shutil
from pathlib import Path

import optuna
import torch

from examples.paper import ExperimentError
from examples.paper.jobs import claim, device_name, versions
from examples.paper.results import Record, add_record
from examples.paper.training import Progress
from examples.tuning.arms import RayPBTArm, SearchArm
from examples.tuning.bench import Bench
from examples.tuning.learners import make_learner
from examples.tuning.population import run_population
from examples.tuning.ray_pbt import run_ray_pbt
from examples.tuning.results import Job, results_file
from examples.tuning.search import run_search
from examples.tuning.steps import StepLog, last_schedule


def run_job(job: Job, results: Path, work: Path, data: Path, progress: Progress) -> None:
    """Run a job, or go on with it, until its result is written; then clean up.

    Raises:
        ExperimentError: The folder holds a job of other settings, or the arm did not use up the
            task's steps.
    """
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = work / job.config.name / job.name
    claim(folder, job)
    learner = make_learner(job.config, job.seed, data)
    log = StepLog(folder / "steps.jsonl", job.config.budget, learner.test)
    progress(len(log.steps))
    bench = Bench(job.config, job.seed, learner, log, progress)
    if isinstance(job.arm, SearchArm):
        run_search(bench, job.arm, folder)
    elif isinstance(job.arm, RayPBTArm):
        run_ray_pbt(bench, folder, data)
    else:
        run_population(bench, job.arm, folder)
    if not log.full:
        raise ExperimentError(f"{job.name} trained {len(log.steps)} steps of {job.config.budget}.")
    add_record(results_file(results, job.config.name), record_of(job, log))
    shutil.rmtree(folder)


def record_of(job: Job, log: StepLog) -> Record:
    """Return what the result file says of the job."""
    n_steps = {(step.number, step.step): n for n, step in enumerate(log.steps, start=1)}
    return {
        "settings": job.settings,
        "digest": job.digest,
        "seed": job.seed,
        "device": device_name("cpu"),
        "versions": versions(),
        "seconds": log.seconds,
        "n_steps": len(log.steps),
        "n_networks": len({step.number for step in log.steps}),
        "incumbents": [
            [n_steps[i.number, i.step], i.seconds, i.validation, i.test] for i in log.incumbents()
        ],
        "schedule": last_schedule(log),
    }
