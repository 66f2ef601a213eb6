"""Ray Tune's PBT on the same task: as many members as have the epochs of EPBT's run."""

from __future__ import annotations

import random
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.ray_tune import start_ray  # first: it sets what Ray reads when imported

# isort: split

import numpy as np
import torch
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining
from ray.tune.search import BasicVariantGenerator

from epbt_optuna import is_trainable
from examples.paper.data import N_CLASSES
from examples.paper.genomes import BOUND, THETA
from tests.benchmarks.race.clock import Clock
from tests.benchmarks.race.networks import Network, Task

_TRIES = 100


class Watch(tune.Callback, tune.Stopper):
    """Shows the clock every result, and ends everything when it is over."""

    def __init__(self, clock: Clock, n_epochs: float, n_generations: int) -> None:
        self.clock, self.n_epochs, self.n_generations = clock, n_epochs, n_generations

    def on_trial_result(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Any],  # noqa: ARG002
        trial: Any,  # noqa: ARG002
        result: dict[str, Any],
        **_: Any,
    ) -> None:
        """Take note of an evaluation."""
        self.clock.see(result["validation"], result["test"], self.n_epochs)

    def __call__(self, _: str, result: dict[str, Any]) -> bool:
        """Return whether a member has had all its generations."""
        return self.clock.is_over or result["training_iteration"] >= self.n_generations

    def stop_all(self) -> bool:
        """Return whether all is over."""
        return self.clock.is_over


def member(config: dict[str, float], task: Task, folder: str) -> None:
    """Train a member, generation for generation, until Ray Tune has had enough."""
    torch.set_num_threads(1)
    number = int(tune.get_context().get_trial_id().split("_")[-1])
    generation, state = 0, None
    if (checkpoint := tune.get_checkpoint()) is not None:
        with checkpoint.as_directory() as place:
            state = torch.load(f"{place}/state.pt", weights_only=True)
        generation = state["generation"]
    network = Network(task.bench, number, state)
    while True:
        score = network.train(config, generation)
        generation += 1
        with tempfile.TemporaryDirectory(dir=folder) as place:
            torch.save({**network.state, "generation": generation}, f"{place}/state.pt")
            checkpoint = tune.Checkpoint.from_directory(place)
            tune.report(score._asdict(), checkpoint=checkpoint)


def founder(rng: np.random.Generator) -> dict[str, float]:
    """Draw a θ that can learn."""
    while True:
        theta = dict(zip(THETA, rng.uniform(-BOUND, BOUND, len(THETA)).tolist(), strict=True))
        if is_trainable(theta, N_CLASSES):
            return theta


def until_trainable(config: dict[str, float]) -> dict[str, float]:
    """Shake an explored θ until it is inside its range and can learn."""
    for _ in range(_TRIES):
        config = {name: min(max(value, -BOUND), BOUND) for name, value in config.items()}
        if is_trainable(config, N_CLASSES):
            break
        config = {name: value * random.choice([0.8, 1.2]) for name, value in config.items()}
    return config


def run_ray_tune(task: Task, clock: Clock, folder: Path, n_workers: int) -> None:
    """Run asynchronous PBT on a cluster that is there, as many members at a time as workers."""
    start_ray(n_workers)
    clock.start()
    random.seed(task.seed)  # Ray Tune's PBT has no seed of its own
    np.random.seed(task.seed)  # noqa: NPY002, as above
    rng = np.random.default_rng(task.seed)
    n_members = task.config.n_lineages
    watch = Watch(clock, task.config.epochs_per_generation, task.config.n_generations)
    space = {name: tune.uniform(-BOUND, BOUND) for name in THETA}
    tuner = tune.Tuner(
        tune.with_resources(partial(member, task=task, folder=str(folder)), {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="validation",
            mode="max",
            num_samples=n_members,
            search_alg=BasicVariantGenerator([founder(rng) for _ in range(n_members)]),
            scheduler=PopulationBasedTraining(
                time_attr="training_iteration",
                perturbation_interval=1,
                hyperparam_mutations=dict(space),
                custom_explore_fn=until_trainable,
                log_config=False,
            ),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=f"{folder}/results", stop=watch, callbacks=[watch], verbose=0
        ),
    )
    errors = tuner.fit().errors
    if errors and not clock.is_over:
        raise RuntimeError(f"Ray Tune had errors: {errors}")
