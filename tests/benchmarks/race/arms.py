"""The arms that Optuna runs: EPBT in a loop, with two processes, batched; TPE with Hyperband."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import optuna
from optuna.pruners import HyperbandPruner
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial

from epbt_optuna import CheckpointStore, TaylorGLOLoss, batched, is_trainable
from epbt_optuna.journal import journal_storage
from epbt_optuna.parallel import optimize
from examples.paper.arms import EPBTArm
from examples.paper.data import N_CLASSES
from examples.paper.evolution import make_sampler
from examples.paper.genomes import BOUND, suggest
from tests.benchmarks.race.clock import Clock
from tests.benchmarks.race.networks import (
    Network,
    Task,
    accuracies,
    batches,
    epochs_of,
    threads,
)

N_CORES = 2
EPBT = EPBTArm("as in the demo")

Way = Literal["loop", "processes", "batched"]


class Objective:
    """EPBT's: a generation's epochs from the parent's weights, trial by trial or all at once."""

    def __init__(self, task: Task, checkpoints: CheckpointStore) -> None:
        self.task, self.checkpoints = task, checkpoints
        self.sampler = make_sampler(EPBT, task.config, task.seed)

    def __call__(self, trial: optuna.Trial) -> float:
        theta = suggest(trial, ("theta",))
        network = Network(self.task.bench, trial.number, self.checkpoints.inherit(trial))
        score = network.train(theta, self.sampler.generation_of(trial.number))
        self.checkpoints.save(trial, network.state)
        trial.set_user_attr("test", score.test)
        return score.validation

    def at_once(self, generation: batched.Generation) -> Any:
        """Train the trials of a generation as one network, on batches that they share."""
        bench, config = self.task.bench, self.task.config
        numbers = iter([trial.number for trial in generation.trials])
        loss_fn = TaylorGLOLoss.suggest(generation, low=-BOUND, high=BOUND)
        stack = batched.stack(lambda: bench.network(next(numbers)), len(generation))
        lr = bench.learning_rate(epochs_of(generation.number, config)[0])
        optimizer = batched.SGD(stack.parameters(), lr=lr, momentum=config.momentum)
        generation.inherit(model=stack, optimizer=optimizer)
        for epoch in epochs_of(generation.number, config):
            for group in optimizer.param_groups:
                group["lr"] = bench.learning_rate(epoch)
            stack.train()
            for images, labels in batches(bench, generation.trials[0].number, epoch):
                loss_fn(stack(images), labels).sum().backward()
                optimizer.step()
                optimizer.zero_grad()
        generation.save(model=stack, optimizer=optimizer)
        generation.set_user_attr("test", accuracies(stack, bench.split.test))
        return accuracies(stack, bench.split.validation)


def run_epbt(task: Task, clock: Clock, folder: Path, way: Way) -> None:
    """Run EPBT until the clock is over."""
    clock.start()
    checkpoints = CheckpointStore(folder / "checkpoints")
    objective = Objective(task, checkpoints)
    study = optuna.create_study(
        storage=journal_storage(folder / "study.log"),
        sampler=objective.sampler,
        direction="maximize",
    )
    n_epochs = task.config.epochs_per_generation

    def watch(study: optuna.Study, trial: FrozenTrial) -> None:
        assert trial.value is not None
        clock.see(trial.value, trial.user_attrs["test"], n_epochs)
        if clock.is_over:
            study.stop()

    callbacks = [watch, checkpoints.collector()]
    n_generations = task.config.n_generations
    if way == "loop":
        n_trials = objective.sampler.n_trials(n_generations)
        study.optimize(objective, n_trials=n_trials, callbacks=callbacks)
    elif way == "processes":
        optimize(
            study,
            objective,
            n_generations=n_generations,
            devices=["cpu"] * N_CORES,
            callbacks=callbacks,
            show_progress_bar=False,
        )
    else:
        with threads(N_CORES):
            batched.optimize(
                study,
                objective.at_once,
                n_generations=n_generations,
                checkpoints=checkpoints,
                callbacks=callbacks,
            )
    # With what was trained beside the network that reached it: a generation's others, a second
    # worker's.
    clock.epochs = n_epochs * len(study.trials)


def run_tpe(task: Task, clock: Clock, folder: Path) -> None:
    """Let TPE choose one θ for a whole training, and Hyperband end what looks bad."""
    config = task.config
    clock.start()
    study = optuna.create_study(
        storage=journal_storage(folder / "study.log"),
        sampler=TPESampler(seed=task.seed),
        pruner=HyperbandPruner(min_resource=1, max_resource=config.n_generations),
        direction="maximize",
    )

    def objective(trial: optuna.Trial) -> float:
        theta = suggest(trial, ("theta",))
        if not is_trainable(theta, N_CLASSES):  # as `feasible` has it for EPBT
            raise optuna.TrialPruned
        network = Network(task.bench, trial.number, None)
        validation = 0.0
        for generation in range(config.n_generations):
            validation, test = network.train(theta, generation)
            clock.see(validation, test, config.epochs_per_generation)
            if clock.is_over:
                trial.study.stop()
                break
            trial.report(validation, generation + 1)
            if trial.should_prune():
                raise optuna.TrialPruned
        return validation

    study.optimize(objective)


def run_ray(task: Task, clock: Clock, folder: Path) -> None:
    from tests.benchmarks.race.ray_arm import run_ray_tune  # sets what Ray reads when imported

    run_ray_tune(task, clock, folder, N_CORES)


class Arm(NamedTuple):
    """A contestant.

    Attributes:
        title: Its name in the table.
        run: Runs it until the clock is over.
    """

    title: str
    run: Callable[[Task, Clock, Path], None]


ARMS = {
    "loop": Arm("EPBT in a loop", partial(run_epbt, way="loop")),
    "processes": Arm(f"EPBT, {N_CORES} processes", partial(run_epbt, way="processes")),
    "batched": Arm(f"EPBT, batched, {N_CORES} threads", partial(run_epbt, way="batched")),
    "ray": Arm(f"Ray Tune's PBT, {N_CORES} members at a time", run_ray),
    "tpe": Arm("TPE and Hyperband", run_tpe),
}
