"""Jobs: one arm on one seed, run to its line of the result file in a worker process."""

from __future__ import annotations

import json
import platform
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch

import epbt_optuna
from examples.paper.data import make_split
from examples.paper.evolution import run_evolution
from examples.paper.kinds import ReplayArm, SearchArm, SingleNetwork
from examples.paper.outcome import Outcome
from examples.paper.replayed import run_replay, schedule_for
from examples.paper.results import (
    AnyJob,
    Job,
    Record,
    add_record,
    check_settings,
    results_file,
    write_whole,
)
from examples.paper.search import run_search
from examples.paper.single import run_single
from examples.paper.stopwatch import Stopwatch, add_seconds
from examples.paper.training import Progress, Workbench


def run_job(
    job: Job, results: Path, work: Path, data: Path, device: str, progress: Progress
) -> None:
    """Run a job, or go on with it, until its result is written; then clean up."""
    torch.set_num_threads(1)
    torch.backends.cudnn.benchmark = True
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = work / job.config.name / job.name
    claim(folder, job)
    bench = Workbench(
        config=job.config,
        seed=job.seed,
        split=make_split(job.config, job.seed, data, device),
        stopwatch=Stopwatch(partial(synchronize, device)),
    )
    bench.stopwatch.lap()  # loading data is no stage
    outcome, seconds = run_arm(job, bench, results, folder, progress)
    record = record_of(job, outcome, seconds, device)
    add_record(results_file(results, job.config.name), record)
    shutil.rmtree(folder)


def claim(folder: Path, job: AnyJob[Any, Any]) -> None:
    """Make the job's folder, or check that it is this very job's.

    Raises:
        ExperimentError: It was begun with other settings.
    """
    path = folder / "settings.json"
    if path.exists():
        check_settings(str(path), json.loads(path.read_text(encoding="utf-8")), job)
    else:
        write_whole(path, json.dumps(job.settings, sort_keys=True))


def run_arm(
    job: Job, bench: Workbench, results: Path, folder: Path, progress: Progress
) -> tuple[Outcome, dict[str, float]]:
    """Run the arm; return its outcome and the seconds by stage, of earlier runs too."""
    if isinstance(job.arm, SingleNetwork):
        outcome = run_single(bench, job.arm, folder, progress)
        return outcome, bench.stopwatch.lap()
    if isinstance(job.arm, ReplayArm):
        outcome = run_replay(bench, schedule_for(job, results), progress)
        return outcome, bench.stopwatch.lap()
    if isinstance(job.arm, SearchArm):
        outcome, seconds = run_search(bench, job.arm, folder, progress)
    else:
        outcome, seconds = run_evolution(
            bench, job.arm, folder, progress, in_batches=job.is_batched
        )
    return outcome, add_seconds([seconds, bench.stopwatch.lap()])


def record_of(job: Job, outcome: Outcome, seconds: dict[str, float], device: str) -> Record:
    """Return what the result file says of the job."""
    return {
        "settings": job.settings,
        "digest": job.digest,
        "seed": job.seed,
        "device": device_name(device),
        "versions": versions(),
        "seconds": {stage: round(spent, 4) for stage, spent in seconds.items()},
        "epochs_trained": outcome.epochs_trained,
        "losses_explored": outcome.losses_explored,
        "curve": [list(point) for point in outcome.curve],
        "ancestry": list(outcome.ancestry),
    }


def versions() -> dict[str, str]:
    return {
        "epbt_optuna": epbt_optuna.__version__,
        "numpy": np.__version__,
        "optuna": optuna.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }


def device_name(device: str) -> str:
    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    return f"one thread of a CPU ({platform.machine()})"


def synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
