"""Ray Tune's PBT on one core: its members take turns in one process of Ray's.

It cannot go on in the middle, so a job that was cut off starts again. Its clock starts with the
training of its first member: the start of Ray and of its process is not counted.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from examples.paper import ExperimentError
from examples.tuning.bench import Bench
from examples.tuning.learners import make_learner, random_state
from examples.tuning.steps import Snapshot
from examples.tuning.tasks import CNNTask, PPOTask, Task

# Ray Tune reads these when it is imported, and its process when it starts.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_THRESHOLD_S": "3600",
}


def run_ray_pbt(bench: Bench, folder: Path, data: Path) -> None:
    """Run Ray Tune, then write down all its steps.

    Raises:
        ExperimentError: Ray is not installed, or a member failed.
    """
    if bench.log.full:
        return
    bench.log.clear()
    shutil.rmtree(folder / "ray", ignore_errors=True)
    (folder / "ray").mkdir()
    for result in fit(bench, (folder / "ray").resolve(), data.resolve()):
        bench.log.add(
            result["number"],
            result["step"],
            result["validation"],
            result["seconds"],
            partial(load, Path(result["snapshot"])),
        )


def fit(bench: Bench, folder: Path, data: Path) -> list[dict[str, Any]]:
    """Run Ray Tune; return what its members reported, in order, with the seconds of the job."""
    os.environ |= ENVIRONMENT
    try:
        import ray
        from ray import tune
        from ray.tune.schedulers import PopulationBasedTraining
        from ray.tune.search.basic_variant import BasicVariantGenerator
    except ImportError as error:
        raise ExperimentError(f"This arm needs `pip install 'ray[tune]'`: {error}.") from error

    results: list[dict[str, Any]] = []

    class Listening(tune.Callback):
        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
        ) -> None:
            start = results[0]["start"] if results else result["start"]
            results.append({**result, "start": start, "seconds": time.time() - start})
            bench.progress(1)

    # Its scheduler draws from the global generators.
    random.seed(random_state(bench.seed))
    np.random.seed(random_state(bench.seed))  # noqa: NPY002
    ray.init(
        "local", num_cpus=1, include_dashboard=False, log_to_driver=False,
        logging_level=logging.ERROR,
    )  # fmt: skip
    try:
        found = tune.Tuner(
            tune.with_resources(
                partial(member, task=bench.task, seed=bench.seed, data=data, folder=folder),
                {"cpu": 1},
            ),
            param_space=space_of(bench.task),
            tune_config=tune.TuneConfig(
                metric="validation",
                mode="max",
                num_samples=bench.task.n_members,
                search_alg=BasicVariantGenerator(random_state=random_state(bench.seed)),
                scheduler=PopulationBasedTraining(
                    time_attr="training_iteration",
                    perturbation_interval=1,
                    hyperparam_mutations=space_of(bench.task),
                    custom_explore_fn=partial(within, task=bench.task),
                    synch=True,  # generations, as ours have
                    log_config=False,
                ),
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=str(folder / "results"),
                stop={"training_iteration": bench.task.n_steps},
                callbacks=[Listening()],
                verbose=0,
            ),
        ).fit()
    finally:
        ray.shutdown()
    if found.errors:
        raise ExperimentError(f"Members of Ray Tune failed: {found.errors[0]}")
    return results


def member(
    config: dict[str, float], task: CNNTask | PPOTask, seed: int, data: Path, folder: Path
) -> None:
    """Train step by step until Ray Tune pauses or ends it."""
    from ray import tune

    torch.set_num_threads(1)
    learner = make_learner(task, seed, data)
    number = int(str(tune.get_context().get_trial_id()).rsplit("_", 1)[-1])
    snapshot = Snapshot({}, [])
    if (checkpoint := tune.get_checkpoint()) is not None:
        with checkpoint.as_directory() as place:
            snapshot = load(Path(place))
    while True:
        start = time.time()
        step = len(snapshot.schedule)
        state = learner.train(snapshot.state or None, config, (number, step))
        snapshot = snapshot.after(state, config)
        place = folder / "snapshots" / f"{number}-{step}"
        place.mkdir(parents=True, exist_ok=True)
        torch.save({"state": snapshot.state, "schedule": snapshot.schedule}, place / "state.pt")
        tune.report(
            {
                "number": number,
                "step": step,
                "validation": learner.validate(state),
                "snapshot": str(place),
                "start": start,
            },
            checkpoint=tune.Checkpoint.from_directory(str(place)),
        )


def load(folder: Path) -> Snapshot:
    """Read what a member wrote."""
    return Snapshot(**torch.load(folder / "state.pt", weights_only=True))


def space_of(task: Task) -> dict[str, Any]:
    from ray import tune

    return {
        v.name: (tune.loguniform if v.log else tune.uniform)(v.low, v.high) for v in task.variables
    }


def within(config: dict[str, float], task: Task) -> dict[str, float]:
    """Keep what was explored within its range: Ray Tune's factors lead out of it."""
    return {v.name: min(max(config[v.name], v.low), v.high) for v in task.variables}
