"""A winner's schedule once more: one fresh network, on training and validation images together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from examples.paper import ExperimentError
from examples.paper.data import all_labelled
from examples.paper.generations import sgd_of
from examples.paper.genomes import loss_genes, loss_of
from examples.paper.outcome import Outcome, Point
from examples.paper.results import Job, check_settings, read_records, results_file
from examples.paper.training import Progress, Workbench, set_sgd

Schedule = Sequence[dict[str, Any]]
"""What `Outcome.ancestry` holds: generations with their hyperparameters, the founder's first."""


def schedule_for(job: Job, results: Path) -> Schedule:
    """Read the schedule that a job is to replay from the line of the arm that it replays.

    Raises:
        ExperimentError: There is no such line of this seed, or it has other settings.
    """
    replayed, path = job.replayed, results_file(results, job.config.name)
    record = read_records(path).get((replayed.arm_name, replayed.seed))
    if record is None:
        raise ExperimentError(
            f"{job.name} replays {replayed.name}, which {path} lacks: run that arm first."
        )
    check_settings(f"{replayed.name} in {path}", record["settings"], replayed)
    schedule: Schedule = record["ancestry"]
    return schedule


def run_replay(bench: Workbench, schedule: Schedule, progress: Progress) -> Outcome:
    """Train a network from scratch to the end of a schedule: no images are left to stop on.

    Weights that the winner got from mates are not in a schedule. A run that is cut off starts anew.
    """
    network = bench.network(0)
    optimizer = bench.optimizer(network)
    part = all_labelled(bench.split)
    curve: list[Point] = []
    for ancestor in schedule:
        params = ancestor["params"]
        loss_fn = loss_of(params, len(part[1]), bench.device)
        for epoch, share in bench.config.passes(ancestor["generation"]):
            set_sgd(optimizer, **sgd_of(params, bench.learning_rate(epoch)))
            bench.train_epoch(network, optimizer, loss_fn, part, bench.generator(0, epoch), share)
            curve.append(Point(epoch + share, None, bench.test_accuracy(network)))
            progress(share)
    return Outcome(
        curve,
        epochs_trained=len(curve),
        losses_explored=len({loss_genes(ancestor["params"]) for ancestor in schedule}),
        ancestry=schedule,
    )
