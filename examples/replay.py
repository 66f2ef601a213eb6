"""Does a schedule outlive the run that found it? Fresh networks along EPBT's best lineage.

    python -m examples.replay                   # digits, 40 % of the labels wrong
    python -m examples.replay --data fashion    # Fashion-MNIST

For each seed, EPBT evolves losses (the studies of `examples.digits` and `fashion_mnist` are taken
up where they are). Then fresh networks train on the same images along the best lineage's
schedule, with `ReplaySampler`; against cross-entropy and the schedule's last loss from start to
end, for the same epochs at the same learning rates. Stopped at any point, the same command goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean

import optuna
import torch
from optuna.trial import TrialState
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional as F  # noqa: N812, PyTorch's own name for it

from epbt_optuna import CheckpointStore, TaylorGLOLoss
from epbt_optuna.journal import journal_storage
from epbt_optuna.lineage import ReplaySampler, Schedule, loss_schedule
from examples import digits, fashion_mnist
from examples.evolving import evolve, fail_cut_off
from examples.label_noise import (
    Loss,
    Report,
    Settings,
    Split,
    accuracy,
    add_options,
    make_optimizer,
    set_learning_rate,
    train_epoch,
)
from examples.runner import run_jobs, summary

Curve = list[Sequence[float]]
"""Two accuracies after each epoch, on wrong validation labels and on right test labels."""

REPLAY, LAST_LOSS, CROSS_ENTROPY = "the schedule", "its last loss, static", "cross-entropy"
FRESH_ARMS = (REPLAY, LAST_LOSS, CROSS_ENTROPY)
EVOLVED = "the evolved network itself"


@dataclass(frozen=True)
class Run:
    """What all arms of one seed have in common."""

    settings: Settings
    seed: int
    split: Split
    schedule: Schedule
    n_networks: int
    report: Report

    @property
    def folder(self) -> Path:
        """Where the seed's studies and checkpoints are kept."""
        return self.settings.folder / f"seed-{self.seed}"

    def torch_seed(self, network: int, step: int = 0) -> int:
        """Return the seed of a network: the same in all arms, and none that EPBT has used."""
        return 1_000_000_000 + 1_000_000 * self.seed + 10_000 * network + step

    def train_epoch(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, loss_fn: Loss, generation: int
    ) -> tuple[float, float]:
        """Train at the learning rate that a generation had; return both accuracies."""
        set_learning_rate(optimizer, self.settings, generation / self.settings.n_generations)
        train_epoch(network, optimizer, loss_fn, self.split.train, self.settings.batch_size)
        self.report(1, "")
        return accuracy(network, self.split.validation), accuracy(network, self.split.test)


def train_static(run: Run, loss_fn: Loss, network_number: int) -> Curve:
    """Train one network with one loss, epoch by epoch at the schedule's learning rates."""
    torch.manual_seed(run.torch_seed(network_number))
    network = run.settings.make_network()
    optimizer = make_optimizer(network, run.settings)
    return [
        run.train_epoch(network, optimizer, loss_fn, step.generation)
        for step in run.schedule.steps
        for _ in range(step.n_reports)
    ]


def replay_step(
    trial: optuna.Trial, run: Run, sampler: ReplaySampler, checkpoints: CheckpointStore
) -> float:
    """Train one network for one step of the schedule, from the weights of the step before."""
    position = sampler.position(trial)
    loss_fn = TaylorGLOLoss.suggest(trial)
    torch.manual_seed(run.torch_seed(position.network, position.index))
    network = run.settings.make_network()
    optimizer = make_optimizer(network, run.settings)
    if (state := checkpoints.inherit(trial)) is not None:
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
    curve = [
        run.train_epoch(network, optimizer, loss_fn, position.step.generation)
        for _ in range(position.step.n_reports)
    ]
    for epoch, (validation, _) in enumerate(curve):
        trial.report(validation, epoch)
    trial.set_user_attr("curve", curve)
    checkpoints.save(trial, {"network": network.state_dict(), "optimizer": optimizer.state_dict()})
    return curve[-1][0]


def open_replay(run: Run, sampler: ReplaySampler) -> optuna.Study:
    """Create or reopen the study of a seed's replays; whatever still runs in it was cut off."""
    study = optuna.create_study(
        study_name="replay",
        direction="maximize",
        sampler=sampler,
        storage=journal_storage(run.folder / "replay.log"),
        load_if_exists=True,
    )
    fail_cut_off(study)
    return study


def replay(run: Run, sampler: ReplaySampler, study: optuna.Study) -> list[Curve]:
    """Train, or finish training, fresh networks along the schedule; return their curves."""
    checkpoints = CheckpointStore(run.folder / "replay-checkpoints")
    study.optimize(
        partial(replay_step, run=run, sampler=sampler, checkpoints=checkpoints),
        n_trials=sampler.n_trials(run.n_networks, study),
        callbacks=[checkpoints.collector()],
    )
    curves: list[Curve] = [[] for _ in range(run.n_networks)]
    for trial in study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]):
        if (network := sampler.position(trial).network) < run.n_networks:
            curves[network] += trial.user_attrs["curve"]
    return curves


def run_seed(
    settings: Settings, n_networks: int, seed: int, report: Report
) -> dict[str, list[Curve]]:
    """Run, or finish, EPBT and all arms on one seed; return their curves, one a network."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    split = settings.make_split(seed, settings.label_noise)
    evolution, evolved = evolve(settings, seed, split, report)
    fittest = settings.sampler().fittest(evolution)
    schedule = Schedule.from_study(evolution, fittest)
    run = Run(settings, seed, split, schedule, n_networks, report)
    schedule.save(run.folder / "schedule.json")
    sampler = ReplaySampler(schedule)
    study = open_replay(run, sampler)
    curves = {REPLAY: replay(run, sampler, study)}
    losses: dict[str, Loss] = {
        LAST_LOSS: loss_schedule(schedule)[-1],
        CROSS_ENTROPY: F.cross_entropy,
    }
    for name, loss_fn in losses.items():
        for network in range(n_networks):
            if (key := f"{name}, network {network}") not in study.user_attrs:
                study.set_user_attr(key, train_static(run, loss_fn, network))
            curves.setdefault(name, []).append(study.user_attrs[key])
    curves[EVOLVED] = [[(fittest.values[0], accuracy(evolved, split.test))]]
    return curves


def last(curve: Curve) -> float:
    """Return the test accuracy after the last epoch, in %."""
    return 100 * curve[-1][1]


def early_stopped(curve: Curve) -> float:
    """Return the test accuracy after the epoch with the best validation accuracy, in %."""
    return 100 * max(curve, key=lambda accuracies: accuracies[0])[1]


def table_of(outcomes: list[dict[str, list[Curve]]], title: str) -> Table:
    table = Table(title=title)
    for heading in ("fresh networks trained with", "last epoch", "early-stopped", "epochs"):
        table.add_column(heading, justify="left" if not table.columns else "right")
    for name in (*FRESH_ARMS, EVOLVED):
        runs = [outcome[name] for outcome in outcomes]
        columns = [
            summary([mean(map(pick, curves)) for curves in runs]) for pick in (last, early_stopped)
        ]
        if name == EVOLVED:  # chosen by its validation accuracy, like early stopping
            table.add_row(name, "", columns[1], "")
        else:
            table.add_row(name, *columns, summary([float(len(curves[0])) for curves in runs]))
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", choices=["digits", "fashion"], default="digits")
    fashion_mnist.add_data_options(parser, train=10_000, validation=5_000)
    parser.add_argument("--networks", type=int, default=1, help="fresh networks a schedule")
    add_options(parser, label_noise=0.4, seeds=5, generations=30, epochs=1, folder=None)
    options = parser.parse_args(arguments)
    data = digits if options.data == "digits" else fashion_mnist
    if options.folder is None:  # where the other example keeps its studies
        options.folder = Path("runs/digits" if options.data == "digits" else "runs/fashion-mnist")
    settings = data.settings_of(options)
    n_epochs = settings.n_epochs_of_evolution + (  # at most: a lineage may skip generations
        len(FRESH_ARMS) * options.networks * settings.n_epochs
    )
    jobs = [partial(run_seed, settings, options.networks, seed) for seed in range(options.seeds)]
    outcomes = run_jobs(jobs, len(jobs) * n_epochs, options.workers, settings.folder)
    title = (
        f"Accuracy on clean test data of {options.data}, {options.label_noise:.0%} of the training "
        f"and validation labels wrong: mean ± standard deviation over {options.seeds} seeds, in %"
    )
    Console().print(table_of(outcomes, title))
    Console().print(f"The schedules are in {settings.folder}/seed-*/schedule.json.")


if __name__ == "__main__":
    main()
