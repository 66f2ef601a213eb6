"""Training as Ray tasks that notes where it runs, for the tests of the Ray engine."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import optuna
import ray
from optuna.trial import FrozenTrial

from epbt_optuna import EPBTSampler
from epbt_optuna.parallel import optimize
from epbt_optuna.parallel.driver import Callback
from tests.drills.storages import opened_study
from tests.drills.training import RULES, Training, summary

__all__ = [
    "N_GENERATIONS",
    "N_TRIALS",
    "make_objective",
    "outcomes",
    "run_on_ray",
    "runs_in",
    "study_on",
]

N_GENERATIONS = 4
N_TRIALS = RULES.population_size + (N_GENERATIONS - 1) * (RULES.population_size - RULES.n_elites)


def study_on(url: str) -> AbstractContextManager[optuna.Study]:
    sampler = EPBTSampler(RULES.population_size, n_elites=RULES.n_elites, seed=3)
    return opened_study(url, str(uuid.uuid4()), RULES, sampler)


def make_objective(folder: Path, hangs: int | None = None) -> Callable[[optuna.Trial], float]:
    """Return training with PRUNED and FAILED trials among it, that notes where each one runs.

    Args:
        folder: For notes and checkpoints.
        hangs: Number of a trial that comes to no end, when it is run first, but has saved.
    """

    def objective(trial: optuna.Trial) -> float:
        if ray.is_initialized():
            node = ray.get_runtime_context().get_node_id()
            Path(folder, f"{trial.number}-{os.getpid()}-{node}").touch()
        epochs = 0

        def hang(phase: str) -> None:
            nonlocal epochs
            epochs += phase == "train"
            hung = Path(folder, "hung")
            if trial.number == hangs and epochs == 2 and not hung.exists():
                hung.touch()
                signal.pause()

        value = Training(folder / "checkpoints", enter=hang)(trial)
        if trial.number % 7 == 4:
            raise optuna.TrialPruned
        if trial.number % 7 == 6:
            raise ArithmeticError("as it is meant")
        return value

    return objective


def runs_in(folder: Path) -> list[tuple[int, str]]:
    """Return number and node of every run of a trial."""
    names = [path.name.split("-") for path in folder.glob("*-*-*")]
    return sorted((int(number), node) for number, _, node in names)


def run_on_ray(
    url: str, objective: Callable[[optuna.Trial], float], callbacks: Sequence[Callback] = ()
) -> list[FrozenTrial]:
    with study_on(url) as study:
        optimize(
            study,
            objective,
            n_generations=N_GENERATIONS,
            engine="ray",
            catch=ArithmeticError,
            callbacks=callbacks,
        )
        return study.trials


def outcomes(trials: list[FrozenTrial]) -> list[dict[str, Any]]:
    """Return what a trial that was run twice has in common with one that was not."""
    return [{**summary(trial), "weights": trial.user_attrs.get("saved")} for trial in trials]
