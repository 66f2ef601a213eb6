"""What a member-iteration costs, beside Ray Tune's PBT.

A member-iteration is one trial here, one iteration of one member there: eight hyperparameters are
chosen, 470,000 float32 (1.9 MB) are inherited where the algorithm says so, and saved, and the
fitness is recorded. Nothing is trained, so all of it is overhead. Both run population based
training with 20 members and 10 generations in one run, taking turns, on the same disk.

The clock runs from the moment when every member has been evaluated once until the end: starting
processes is not counted. Ray Tune is set up as fast as we know how: actors are reused; no loggers,
no snapshots of the experiment, no change of directory. All members are alive at once, on a
fraction of a core each; or as many as there are cores, and then they pause for one another, but
Ray Tune starts no new process when one inherits. It does not synchronise what it writes to the
disk, and verifies nothing; we do both.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

# Ray Tune reads these when it is imported, and its actors when they start.
os.environ |= {
    "OMP_NUM_THREADS": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_THRESHOLD_S": "3600",
}

import optuna
import ray
import torch
from optuna.trial import FrozenTrial
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining
from torch import Tensor
from tqdm import tqdm

from epbt_optuna import CheckpointStore, PBTSampler
from epbt_optuna.journal import journal_storage
from epbt_optuna.parallel import optimize
from tests.benchmarks.measure import figures
from tests.benchmarks.table import Case, Table

RIVAL = "Ray Tune"
N_WORKERS = 2
NAMES = [f"x{i}" for i in range(8)]


class Run(NamedTuple):
    """How much is done."""

    n_members: int = 20
    n_generations: int = 10
    n_floats: int = 470_000


class Clock:
    """Times the member-iterations after those in which the last member was evaluated first."""

    def __init__(self, n_members: int) -> None:
        self._n_members = n_members
        self._members: set[object] = set()
        self._n_timed = 0
        self._start = self._end = 0.0

    def tick(self, member: object) -> None:
        """Take note of an evaluation."""
        self._end = time.perf_counter()
        if len(self._members) == self._n_members:
            self._n_timed += 1
            return
        self._members.add(member)
        self._start = self._end

    @property
    def milliseconds(self) -> float:
        """Of one member-iteration."""
        return 1e3 * (self._end - self._start) / self._n_timed


# Ours


class Objective:
    """Chooses, inherits and saves."""

    def __init__(self, folder: str, n_floats: int) -> None:
        self.checkpoints = CheckpointStore(folder)
        self.n_floats = n_floats

    def __call__(self, trial: optuna.Trial) -> float:
        fitness = sum(trial.suggest_float(name, -1.0, 1.0) for name in NAMES)
        state = self.checkpoints.inherit(trial)
        weights = torch.zeros(self.n_floats) if state is None else state["weights"]
        self.checkpoints.save(trial, {"weights": weights})
        return fitness


def ours(folder: str, run: Run, engine: Any = None) -> float:
    """Run on Journal storage: `study.optimize`, or two workers of an engine."""
    clock = Clock(run.n_members)
    sampler = PBTSampler(run.n_members, seed=0)
    storage = journal_storage(f"{folder}/study.log")
    study = optuna.create_study(storage=storage, sampler=sampler, direction="maximize")
    objective = Objective(f"{folder}/checkpoints", run.n_floats)

    def tick(_: optuna.Study, trial: FrozenTrial) -> None:
        clock.tick(trial.number)

    if engine is None:
        study.optimize(objective, sampler.n_trials(run.n_generations), callbacks=[tick])
    else:
        optimize(
            study,
            objective,
            n_generations=run.n_generations,
            workers=N_WORKERS,
            devices=["cpu"] * N_WORKERS if engine == "process" else None,
            engine=engine,
            callbacks=[tick],
            show_progress_bar=False,
        )
    return clock.milliseconds


# Ray Tune's


class Ticking(tune.Callback):
    """Times results as the driver of Ray Tune gets them."""

    def __init__(self, n_members: int) -> None:
        self.clock = Clock(n_members)

    def on_trial_result(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Any],  # noqa: ARG002
        trial: Any,
        result: dict[str, Any],  # noqa: ARG002
        **_: Any,
    ) -> None:
        """Take note of an iteration."""
        self.clock.tick(trial.trial_id)


def member(config: dict[str, float], meeting: str, at_a_time: int, n_floats: int) -> None:
    """Train nothing, iteration for iteration, until Ray Tune has had enough."""
    torch.set_num_threads(1)
    weights = torch.zeros(n_floats)
    if (checkpoint := tune.get_checkpoint()) is not None:
        with checkpoint.as_directory() as folder:
            weights = loaded(folder)
    else:
        wait_for(at_a_time, Path(meeting))
    fitness = sum(config[name] for name in NAMES)
    while True:
        with tempfile.TemporaryDirectory(dir=meeting) as folder:
            torch.save({"weights": weights}, f"{folder}/state.pt")
            tune.report({"fitness": fitness}, checkpoint=tune.Checkpoint.from_directory(folder))


def loaded(folder: str) -> Tensor:
    state = torch.load(f"{folder}/state.pt", weights_only=True, mmap=True)
    weights: Tensor = state["weights"]
    return weights


def wait_for(n_members: int, meeting: Path) -> None:
    """Wait until so many members are there, so that none runs while others still start."""
    tempfile.mkstemp(".member", dir=meeting)
    while len(list(meeting.glob("*.member"))) < n_members:
        time.sleep(0.05)


def ray_tune(folder: str, run: Run, *, synchronous: bool, at_a_time: int) -> float:
    """Run Ray Tune's PopulationBasedTraining, with so many members alive at a time."""
    space = {name: tune.uniform(-1.0, 1.0) for name in NAMES}
    ticking = Ticking(run.n_members)
    meeting = Path(folder, "meeting")
    meeting.mkdir()
    tuner = tune.Tuner(
        tune.with_resources(
            partial(member, meeting=str(meeting), at_a_time=at_a_time, n_floats=run.n_floats),
            {"cpu": N_WORKERS / at_a_time},
        ),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="fitness",
            mode="max",
            num_samples=run.n_members,
            scheduler=PopulationBasedTraining(
                time_attr="training_iteration",
                perturbation_interval=1,
                hyperparam_mutations=dict(space),
                synch=synchronous,
                log_config=False,
            ),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=f"{folder}/results",
            stop={"training_iteration": run.n_generations},
            callbacks=[ticking],
            verbose=0,
        ),
    )
    results = tuner.fit()
    if results.errors:
        raise RuntimeError(f"Ray Tune had errors: {results.errors}")
    return ticking.clock.milliseconds


def start_ray(n_workers: int) -> None:
    """Start a cluster of so many cores."""
    ray.init(
        "local",
        num_cpus=n_workers,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def bench_member_iteration(quick: bool) -> Table:
    """Time all ways, in turns, in the folder for temporary files."""
    start_ray(N_WORKERS)
    run = Run(2, 2, 1_000) if quick else Run()
    ways: dict[str, Callable[[str], float]] = {"study.optimize": partial(ours, run=run)}
    modes = {"asynchronous": False, "synchronous": True}
    if not quick:  # where each of them takes longer to begin than to run
        ways[f"parallel.optimize, {N_WORKERS} processes"] = partial(ours, run=run, engine="process")
        ways[f"parallel.optimize, Ray, {N_WORKERS} cores"] = partial(ours, run=run, engine="ray")
    for at_a_time in dict.fromkeys((run.n_members, N_WORKERS)):
        for mode in list(modes)[: 1 if quick else 2]:
            ways[f"{RIVAL}, {mode}, {at_a_time} members at a time"] = partial(
                ray_tune, run=run, synchronous=modes[mode], at_a_time=at_a_time
            )
    times: dict[str, list[float]] = {name: [] for name in ways}
    for name in tqdm(list(ways) * (1 if quick else 3), desc="member-iteration", leave=False):
        with tempfile.TemporaryDirectory() as folder:
            times[name].append(ways[name](folder))
    ray.shutdown()
    rivals = [name for name in ways if name.startswith(RIVAL)]
    best = min(rivals, key=lambda name: median(times[name]))
    return Table(
        f"A member-iteration with a checkpoint of {4e-6 * run.n_floats:.2g} MB",
        (Case(f"{run.n_members} members, {run.n_generations} generations", "ms", figures(times)),),
        over=dict.fromkeys(ways, best),
    )


BENCHMARKS = {
    "member-iteration": bench_member_iteration,
}
