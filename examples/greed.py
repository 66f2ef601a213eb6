"""How greedy is a population? PBT-Zoo's two toys, where the best schedule is known.

    python -m examples.greed                 # 10 seeds; draws greed.png

A "network" is one weight θ = 0.9, worth 1.2 − θ². A hyperparameter h in [0.0001, 1.1] is a brake:
each of 20 steps a round is θ ← θ − 0.002·max(2 − h − penalty, 0)·θ. Founders have h in [0.9, 1.1].
The *plain* toy has no penalty: h = 0 at once is best, at any time. On the *deceptive* one it is
0.2·Σ |h_i − (1 − i/50)| over the rounds i so far: h = 0 at once is best for some rounds and ruins
the rest; best in the end is the line from 1 to 0 (Chebykin, Alderliesten and Bosman, "To Be Greedy,
or Not to Be", TMLR 2025). All populations train as much.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from epbt_optuna import CheckpointStore, EPBTSampler, GaussianMutation, PBTSampler
from epbt_optuna.operators import PerturbOrResample
from epbt_optuna.samplers import GenerationSampler
from examples.label_noise import Report
from examples.runner import run_jobs

LOW, HIGH, STEPS = 1e-4, 1.1, 20
TOYS = ("plain", "deceptive")
COLOURS = {"best": "C2", "constant": "0.5", "greed": "C3"}

GENTLE = GaussianMutation(sigma=0.05, reset_probability=0.0)
FROZEN = partial(EPBTSampler, 43)  # half of it stands still: trains as much as 22
TRAINED = partial(EPBTSampler, 22, n_elites=11, train_elites=True)
GENTLE_TRAINED = partial(TRAINED, mutation=GENTLE)
SMOOTHED = partial(GENTLE_TRAINED, fitness_smoothing=0.5)
SETTINGS: dict[str, tuple[Callable[..., GenerationSampler], float]] = {  # and the mate's weight
    "PBT, × 1.2, resets": (partial(PBTSampler, 22), 0.0),
    "PBT, × 2": (partial(PBTSampler, 22, explore=PerturbOrResample(2.0, 0.0)), 0.0),
    "EPBT, the paper's": (FROZEN, 0.0),
    "EPBT, σ = 0.05, no resets": (partial(FROZEN, mutation=GENTLE), 0.0),
    "elites train": (TRAINED, 0.0),
    "elites train, σ = 0.05, no resets": (GENTLE_TRAINED, 0.0),
    "… and fitness smoothed": (SMOOTHED, 0.0),
    "… and weights averaged": (SMOOTHED, 0.5),
}


def train(
    theta: float, past: float, index: int, h: float, toy: str, n_rounds: int
) -> tuple[float, float]:
    """Train one round; return θ and the sum of distances from the line, this round's included."""
    past += abs(h - (1 - index / n_rounds))
    penalty = 0.2 * past if toy == "deceptive" else 0.0
    return theta * (1 - 0.002 * max(2 - h - penalty, 0)) ** STEPS, past


def fitness(schedule: Sequence[float], toy: str) -> float:
    """Return what a network is worth after a whole schedule of h."""
    theta, past = 0.9, 0.0
    for index, h in enumerate(schedule):
        theta, past = train(theta, past, index, h, toy, len(schedule))
    return 1.2 - theta**2


def known(toy: str, n_rounds: int) -> dict[str, float]:
    """Return what the best schedule, the best constant and greed are worth."""
    line = [1 - index / n_rounds if toy == "deceptive" else 0.0 for index in range(n_rounds)]
    constants = [fitness([h / 200] * n_rounds, toy) for h in range(221)]
    return {"best": fitness(line, toy), "constant": max(constants), "greed": constants[0]}


def evolve(name: str, toy: str, n_rounds: int, seed: int, report: Report) -> float:
    """Run one study; return the fitness of its best network."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    make_sampler, mate_weight = SETTINGS[name]
    sampler = make_sampler(seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for h in np.random.default_rng(seed).uniform(0.9, 1.1, sampler.population_size):
        study.enqueue_trial({"h": h})
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = CheckpointStore(folder)

        def objective(trial: optuna.Trial) -> float:
            h = trial.suggest_float("h", LOW, HIGH)
            state = checkpoints.inherit(trial, mate_weight=mate_weight)
            state = state or {"θ": torch.tensor(0.9), "past": 0.0, "index": 0}
            index = state["index"]
            theta, past = train(float(state["θ"]), state["past"], index, h, toy, n_rounds)
            checkpoints.save(trial, {"θ": torch.tensor(theta), "past": past, "index": index + 1})
            return 1.2 - theta**2

        study.optimize(objective, sampler.n_trials(n_rounds), callbacks=[checkpoints.collector()])
    report(1, f"{toy}, seed {seed}: {study.best_value:.3f}")
    return study.best_value


def measure(n_rounds: int, n_seeds: int, n_workers: int) -> dict[tuple[str, str], list[float]]:
    """Return the fitness of each seed's best network, by setting and toy."""
    runs = [(name, toy, seed) for name in SETTINGS for toy in TOYS for seed in range(n_seeds)]
    jobs = [partial(evolve, name, toy, n_rounds, seed) for name, toy, seed in runs]
    found: dict[tuple[str, str], list[float]] = {}
    for (name, toy, _), value in zip(runs, run_jobs(jobs, len(jobs), n_workers), strict=True):
        found.setdefault((name, toy), []).append(value)
    return found


def middle(values: Sequence[float]) -> float:
    """Return the interquartile mean."""
    n_cut = len(values) // 4
    return float(np.mean(sorted(values)[n_cut : len(values) - n_cut]))


def draw(found: dict[tuple[str, str], list[float]], n_rounds: int, path: Path) -> None:
    """Draw every seed of every setting, and what is known of the toys."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for toy, axes in zip(TOYS, panels, strict=True):
        for name, value in known(toy, n_rounds).items():
            axes.axvline(value, color=COLOURS[name], label=f"{name}: {value:.4f}")
        for row, name in enumerate(SETTINGS):
            values = found[name, toy]
            axes.plot(values, [row] * len(values), "o", color="C0", alpha=0.3)
            axes.plot(middle(values), row, "|", color="C0", markersize=16)
        axes.set(title=f"{toy} toy", xlabel="fitness of the best", yticks=range(len(SETTINGS)))
        axes.set_yticklabels(SETTINGS)
        axes.legend(frameon=False, fontsize="small")
    panels[0].invert_yaxis()
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=50, help="generations")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("greed.png"))
    options = parser.parse_args(arguments)
    found = measure(options.rounds, options.seeds, options.workers)
    table = Table("", *TOYS, title=f"Interquartile mean of {options.seeds} seeds")
    for name in SETTINGS:
        table.add_row(name, *(f"{middle(found[name, toy]):.4f}" for toy in TOYS))
    Console().print(table)
    draw(found, options.rounds, options.out)


if __name__ == "__main__":
    main()
