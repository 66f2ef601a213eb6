"""What many workers gain, and what a barrier between generations costs."""

from __future__ import annotations

import time
from functools import partial
from statistics import median
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

import numpy as np
import optuna
from tqdm import tqdm

from epbt_optuna import EPBTSampler
from epbt_optuna.journal import journal_storage
from epbt_optuna.parallel import optimize
from tests.benchmarks.measure import figures, seconds
from tests.benchmarks.table import Case, Table

EngineName = Literal["process", "ray", "thread"]

ALONE = "study.optimize"


# Two workers against one


def burn(n_steps: int) -> float:
    """Compute in Python, so within its lock and on one core."""
    value = 0.0
    for step in range(n_steps):
        value = (value + step) % 7.0
    return value


class Burning:
    """An objective that computes for a fixed number of steps, and says when it began."""

    def __init__(self, n_steps: int) -> None:
        self.n_steps = n_steps

    def __call__(self, trial: optuna.Trial) -> float:
        trial.set_user_attr("began", time.time())
        burn(self.n_steps)
        return -abs(trial.suggest_float("x", -1, 1))


class Crew(NamedTuple):
    """Who runs a study; nobody but the caller, without an engine."""

    engine: EngineName | None = None
    workers: int = 1

    def __str__(self) -> str:
        """Name it as the table does."""
        names = {"thread": "threads", "process": "processes", "ray": "Ray"}
        return f"{names[self.engine]}, {self.workers}" if self.engine else ALONE


def run_of(crew: Crew, objective: Burning, population: int, n_generations: int) -> list[float]:
    """Return the seconds of a run, and those until the first trial computed."""
    with TemporaryDirectory() as folder:
        sampler = EPBTSampler(population, seed=0)
        storage = journal_storage(f"{folder}/log")
        study = optuna.create_study(storage=storage, sampler=sampler, direction="maximize")
        start = time.time()
        if crew.engine is None:
            study.optimize(objective, n_trials=sampler.n_trials(n_generations))
        else:
            optimize(
                study,
                objective,
                n_generations=n_generations,
                workers=crew.workers,
                engine=crew.engine,
                show_progress_bar=False,
            )
        spent = time.time() - start
        return [spent, min(trial.user_attrs["began"] for trial in study.trials) - start]


def bench_workers(quick: bool) -> Table:
    """Time runs that compute in Python, start of the workers included: in some four minutes.

    Generations of 8 and 4 trials come out even for two workers. With Ray, a cluster is there
    beforehand, as it is where people use one.
    """
    trial_seconds, population, n_generations, n_repeats = (
        (0.01, 2, 1, 1) if quick else (0.5, 8, 5, 3)
    )
    step_seconds = median(seconds(partial(burn, 100_000)) for _ in range(5)) / 1e5
    objective = Burning(int(trial_seconds / step_seconds))
    engines: tuple[EngineName, ...] = ("thread",) if quick else ("thread", "process", "ray")
    crews = [Crew(), *(Crew(engine, workers) for engine in engines for workers in (1, 2))]
    if not quick:
        from tests.benchmarks.ray_tune import start_ray  # sets what Ray reads when imported

        start_ray(2)
    runs: dict[str, list[list[float]]] = {str(crew): [] for crew in crews}
    for crew in tqdm(crews * n_repeats, desc="workers", leave=False):
        runs[str(crew)].append(run_of(crew, objective, population, n_generations))
    n_trials = EPBTSampler(population).n_trials(n_generations)
    names = (f"{n_trials} trials of {trial_seconds:g} s", "until the first trial computes")
    return Table(
        "Trials that compute in Python, by who runs them",
        tuple(
            Case(name, "s", figures({crew: [run[i] for run in own] for crew, own in runs.items()}))
            for i, name in enumerate(names)
        ),
        over=dict.fromkeys(runs, ALONE),
    )


# The barrier's price


class Uneven:
    """An objective whose trials take 1 to 5 times as long as one another, whatever they find."""

    def __init__(self, seed: int, shortest: float) -> None:
        self.seed = seed
        self.shortest = shortest
        self.busy = 0.0

    def __call__(self, trial: optuna.Trial) -> float:
        start = time.perf_counter()
        x = np.array([trial.suggest_float(f"x{i}", -10, 10) for i in range(8)])
        rng = np.random.default_rng([self.seed, trial.number])
        time.sleep(self.shortest * rng.uniform(1, 5))
        self.busy += time.perf_counter() - start  # the interpreter's lock makes it good enough
        return -float(((x - 3) ** 2).mean())


def bench_barrier(quick: bool) -> Table:
    """Measure how long workers wait, and how fit the fittest becomes, with and without barrier."""
    population, n_generations, n_seeds, shortest = (4, 2, 1, 0.001) if quick else (20, 15, 5, 0.05)
    settings = [(workers, barrier) for workers in (4, 10) for barrier in (True, False)]
    names = {
        (workers, barrier): f"{workers} workers, {'with' if barrier else 'without'} barrier"
        for workers, barrier in settings
    }
    waiting: dict[str, list[float]] = {name: [] for name in names.values()}
    walls: dict[str, list[float]] = {name: [] for name in names.values()}
    fitness: dict[str, list[float]] = {name: [] for name in names.values()}
    for seed in range(n_seeds):
        for (workers, barrier), name in names.items():
            sampler = EPBTSampler(population, seed=seed)
            study = optuna.create_study(direction="maximize", sampler=sampler)
            objective = Uneven(seed, shortest)
            run = partial(
                optimize,
                study,
                objective,
                n_generations=n_generations,
                workers=workers,
                engine="thread",
                barrier=barrier,
                show_progress_bar=False,
            )
            wall = seconds(run)
            walls[name].append(wall)
            waiting[name].append(100 * (1 - objective.busy / (workers * wall)))
            fitness[name].append(study.best_value)
    return Table(
        f"Population {population}, {n_generations} generations, durations 1 : 5",
        (
            Case("time that workers wait", "%", figures(waiting)),
            Case("the whole run", "s", figures(walls)),
            Case("fitness in the end (best is 0)", "", figures(fitness)),
        ),
        over={names[workers, False]: names[workers, True] for workers in (4, 10)},
    )


BENCHMARKS = {
    "workers": bench_workers,
    "barrier": bench_barrier,
}
