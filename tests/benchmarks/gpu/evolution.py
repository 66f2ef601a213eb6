"""EPBT as in the paper, 25 generations of 40, on ResNet-32 and images of CIFAR-10's shape.

The images are random numbers: what is measured is time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from time import perf_counter
from typing import Any

import optuna
import torch
from torch import Tensor

from epbt_optuna import CheckpointStore, EPBTSampler, TaylorGLOLoss, batched, restore_optimizer
from epbt_optuna.journal import journal_storage
from tests.benchmarks.gpu.device import device, synchronized
from tests.benchmarks.gpu.training import N_CLASSES, SHAPES, Setting
from tests.benchmarks.table import Case, Figure, Table


class Evolution:
    """One study; its objectives train a trial's network, or all of a generation's as one.

    Args:
        setting: The network; an epoch has `n_steps` batches of it.
        population_size: Individuals.
        n_generations: Generations of one epoch.
    """

    def __init__(
        self, setting: Setting, n_steps: int, population_size: int, n_generations: int
    ) -> None:
        self.setting, self.n_steps, self.n_generations = setting, n_steps, n_generations
        self.sampler = EPBTSampler(population_size, seed=0)
        n_images = n_steps * setting.batch_size
        self.images = torch.randn(n_images, *SHAPES[setting.model], device=device())
        self.labels = torch.randint(N_CLASSES, (n_images,), device=device())
        self.seconds_of_training = 0.0

    def train(self, model: Any, optimizer: Any, loss_fn: Any) -> Tensor:
        """Train an epoch; return the last losses."""

        def epoch() -> None:
            order = torch.randperm(len(self.labels), device=device())
            for batch in order.split(self.setting.batch_size):
                with self.setting.precise():
                    self.losses = loss_fn(model(self.images[batch]), self.labels[batch])
                self.losses.sum().backward()
                optimizer.step()
                optimizer.zero_grad()

        start = perf_counter()
        synchronized(epoch)
        self.seconds_of_training += perf_counter() - start
        return torch.nan_to_num(self.losses.detach(), nan=1e9)

    def one(self, trial: optuna.Trial) -> float:
        loss_fn = TaylorGLOLoss.suggest(trial).to(device())
        model = self.setting.build()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
        if (state := self.checkpoints.inherit(trial, map_location=device())) is not None:
            model.load_state_dict(state["model"])
            restore_optimizer(optimizer, state["optimizer"])
        fitness = -float(self.train(model, optimizer, loss_fn))
        self.checkpoints.save(
            trial, {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        )
        return fitness

    def all_at_once(self, generation: batched.Generation) -> Tensor:
        loss_fn = TaylorGLOLoss.suggest(generation).to(device())
        model = batched.stack(self.setting.build, len(generation))
        optimizer = batched.SGD(model.parameters(), lr=1e-3, momentum=0.9)
        generation.inherit(model=model, optimizer=optimizer)
        losses = self.train(model, optimizer, loss_fn)
        generation.save(model=model, optimizer=optimizer)
        return -losses

    def run(self, *, as_one: bool) -> float:
        """Run the study; return its seconds."""
        with tempfile.TemporaryDirectory() as folder:
            self.checkpoints = CheckpointStore(f"{folder}/checkpoints")
            study = optuna.create_study(
                storage=journal_storage(f"{folder}/study.log"),
                sampler=self.sampler,
                direction="maximize",
            )
            callbacks = [self.checkpoints.collector()]
            start = perf_counter()
            if as_one:
                batched.optimize(
                    study,
                    self.all_at_once,
                    n_generations=self.n_generations,
                    checkpoints=self.checkpoints,
                    device=device(),
                    callbacks=callbacks,
                )
            else:
                n_trials = self.sampler.n_trials(self.n_generations)
                study.optimize(self.one, n_trials=n_trials, callbacks=callbacks)
            return perf_counter() - start


def bench_evolution(small: bool) -> Table:
    """Time whole runs, once each: a run is hundreds of trials."""
    precision = "bf16" if device() == "cuda" else "fp32"
    setting = Setting("resnet32", 2 if small else 128, 1, precision)
    population_size, n_generations, n_steps = (4, 2, 2) if small else (40, 25, 5)
    ways: dict[str, Callable[[Evolution], float]] = {
        "loop": lambda evolution: evolution.run(as_one=False),
        "batched": lambda evolution: evolution.run(as_one=True),
    }
    walls, epochs, outside = {}, {}, {}
    for way, run in ways.items():
        evolution = Evolution(setting, n_steps, population_size, n_generations)
        wall = run(evolution)
        n_trials = evolution.sampler.n_trials(n_generations)
        walls[way] = Figure.of([wall])
        epochs[way] = Figure.of([1e3 * wall / n_trials])
        outside[way] = Figure.of([100 * (1 - evolution.seconds_of_training / wall)])
    return Table(
        f"EPBT, {n_generations} generations of {population_size}, ResNet-32 ({precision}), "
        f"{n_steps} batches of {setting.batch_size} in a trial",
        (
            Case("the whole run", "s", walls),
            Case("a trial", "ms", epochs),
            Case("outside of training", "%", outside),
        ),
        over=dict.fromkeys(ways, "loop"),
    )


BENCHMARKS = {"gpu-epbt": bench_evolution}
