"""The arm of `examples.label_noise` that evolves its loss: one study a seed, resumed if cut off."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor, nn

from epbt_optuna import CheckpointStore, TaylorGLOLoss, batched
from epbt_optuna.journal import journal_storage
from epbt_optuna.tracking import MLflowTracker
from examples.label_noise import (
    SINGLE_NETWORKS,
    Report,
    Settings,
    Split,
    accuracies,
    accuracy,
    make_optimizer,
    set_learning_rate,
    train_epoch,
    train_with,
)


def objective(
    trial: optuna.Trial, settings: Settings, seed: int, split: Split, checkpoints: CheckpointStore
) -> float:
    """Train one individual for one generation, from its parent's weights."""
    loss_fn = TaylorGLOLoss.suggest(trial)
    torch.manual_seed(1_000_000 * seed + trial.number)
    network = settings.make_network()
    optimizer = make_optimizer(network, settings)
    if (state := checkpoints.inherit(trial, mate_weight=settings.mate_weight)) is not None:
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
    generation = settings.sampler().generation_of(trial.number)
    set_learning_rate(optimizer, settings, generation / settings.n_generations)
    for epoch in range(settings.epochs_per_generation):
        train_epoch(network, optimizer, loss_fn, split.train, settings.batch_size)
        fitness = accuracy(network, split.validation)
        trial.report(fitness, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    checkpoints.save(trial, {"network": network.state_dict(), "optimizer": optimizer.state_dict()})
    return fitness


def objective_in_batches(
    generation: batched.Generation, settings: Settings, seed: int, split: Split
) -> Tensor:
    """Train all individuals of a generation at once: `objective` with a dimension more."""
    loss_fn = TaylorGLOLoss.suggest(generation)
    torch.manual_seed(1_000_000 * seed + generation.trials[0].number)
    networks = batched.stack(settings.make_network, len(generation))
    optimizer = batched.SGD(networks.parameters(), lr=settings.learning_rate, momentum=0.9)
    generation.inherit(network=networks, optimizer=optimizer, mate_weight=settings.mate_weight)
    set_learning_rate(optimizer, settings, generation.number / settings.n_generations)
    for epoch in range(settings.epochs_per_generation):
        train_epoch(networks, optimizer, loss_fn, split.train, settings.batch_size)
        fitness = accuracies(networks, split.validation)
        generation.report(fitness, epoch)
        if generation.should_prune().all():
            raise optuna.TrialPruned
    generation.save(network=networks, optimizer=optimizer)
    return fitness


def open_study(settings: Settings, seed: int) -> tuple[optuna.Study, CheckpointStore]:
    """Create or reopen the study of one seed; whatever still runs in it was cut off."""
    folder = settings.folder / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name="label-noise",
        direction="maximize",
        sampler=settings.sampler(seed),
        pruner=settings.pruner,
        storage=journal_storage(folder / "study.log"),
        load_if_exists=True,
    )
    fail_cut_off(study)
    return study, CheckpointStore(folder / "checkpoints")


def fail_cut_off(study: optuna.Study) -> None:
    """Tell trials as failed that a process which is gone has left behind."""
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)


@contextmanager
def tracked(settings: Settings, seed: int, study: optuna.Study) -> Iterator[list[MLflowTracker]]:
    """Yield the callbacks that log a study to MLflow: none, or one for seed 0's.

    In the end it is all there, whatever an earlier run that was cut off has left out.
    """
    if not settings.logs_to_mlflow or seed != 0:
        yield []
        return
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # not into the progress bar
    client, name = MlflowClient(settings.tracking_uri), "label-noise"
    if client.get_experiment_by_name(name) is None:
        # MLflow's own choice for pictures would be the working directory.
        client.create_experiment(name, (settings.folder / "mlruns").resolve().as_uri())
    n_before = len(study.get_trials(deepcopy=False))
    with MLflowTracker(settings.tracking_uri, experiment=name) as tracker:
        yield [tracker]
    if n_before == len(study.get_trials(deepcopy=False)):  # else the tracker has seen to it
        tracker.sync(study)


def evolve(
    settings: Settings, seed: int, split: Split, report: Report
) -> tuple[optuna.Study, nn.Module]:
    """Run, or finish, the study of one seed; return it with the network of its fittest trial."""
    study, checkpoints = open_study(settings, seed)
    sampler = settings.sampler(seed)
    report(len(study.get_trials(deepcopy=False)) * settings.epochs_per_generation, "")

    def report_trial(_: optuna.Study, trial: FrozenTrial) -> None:
        generation = sampler.generation_of(trial.number)
        best = f"seed {seed}, EPBT, generation {generation}: {study.best_value:.1%}"
        report(settings.epochs_per_generation, best)

    with tracked(settings, seed, study) as trackers:
        run: dict[str, Any] = {"settings": settings, "seed": seed, "split": split}
        callbacks: list[Callable[[optuna.Study, FrozenTrial], None]]
        callbacks = [checkpoints.collector(), report_trial, *trackers]
        if settings.in_batches:
            batched.optimize(
                study,
                partial(objective_in_batches, **run),
                n_generations=settings.n_generations,
                checkpoints=checkpoints,
                callbacks=callbacks,
            )
        else:
            study.optimize(
                partial(objective, checkpoints=checkpoints, **run),
                n_trials=sampler.n_trials(settings.n_generations, study),
                callbacks=callbacks,
            )
    network = settings.make_network()
    network.load_state_dict(checkpoints.load(sampler.fittest(study))["network"])
    return study, network


def run_seed(settings: Settings, seed: int, report: Report) -> dict[str, Any]:
    """Run, or finish, all arms on one seed; return their test accuracies."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    split = settings.make_split(seed, settings.label_noise)
    study, _ = open_study(settings, seed)
    for name in SINGLE_NETWORKS:
        if name not in study.user_attrs:
            study.set_user_attr(name, train_with(name, settings, split, seed, report))
        else:
            report(settings.n_epochs, "")
    study, best = evolve(settings, seed, split, report)
    return {**study.user_attrs, "EPBT": {"early": accuracy(best, split.test)}}
