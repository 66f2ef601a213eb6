"""Studies to read the lineage of: evolved ones of every kind, and ones that nobody can read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.trial import TrialState

from epbt_optuna import CheckpointStore, EPBTSampler, PBTSampler

__all__ = ["BAD_STUDIES", "averaging", "evolve", "objective", "only_failed"]

Direction = Literal["maximize", "minimize"]


def objective(trial: optuna.Trial) -> float:
    """Every kind of variable; one trial in seven is pruned, one in eleven fails."""
    rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
    share = trial.suggest_float("share", 0, 1)
    width = trial.suggest_int("width", 1, 64)
    kind = trial.suggest_categorical("kind", ["relu", "1", 1, False, None, 0.5])
    value = share - abs(width - 20) / 64 - rate + (kind == "relu")
    for epoch in range(1 + trial.number % 3):
        trial.report(value + epoch / 100, epoch)
    if trial.number % 7 == 3:
        raise optuna.TrialPruned
    if trial.number % 11 == 5:
        raise ArithmeticError
    return value


def evolve(
    sampler: EPBTSampler | PBTSampler | None = None,
    *,
    direction: Direction = "maximize",
    n_trials: int = 60,
    objective: Callable[[optuna.Trial], float] = objective,
) -> optuna.Study:
    """Run a study, by default one of 8 individuals with 4 elites."""
    sampler = sampler or EPBTSampler(8, seed=0)
    study = optuna.create_study(study_name="evolved", direction=direction, sampler=sampler)
    study.optimize(objective, n_trials=n_trials, catch=(ArithmeticError,))
    return study


def averaging(
    folder: Path, sampler: EPBTSampler | None = None, *, storage: Any = None, n_trials: int = 12
) -> optuna.Study:
    """Run a study in which offspring with even numbers start from averages; its best is averaged.

    By default of 4 individuals with 2 elites: generation 1 is trials 4 and 5.
    """
    import torch  # for those of this folder's tests that need it

    checkpoints = CheckpointStore(folder)

    def train(trial: optuna.Trial) -> float:
        trial.suggest_float("rate", 0, 1)
        checkpoints.inherit(trial, mate_weight=0.25 if trial.number % 2 == 0 else 0)
        checkpoints.save(trial, {"w": torch.tensor([float(trial.number)])})
        trial.report(trial.number, 0)
        return trial.number + 100 * (trial.number % 2 == 0)

    study = optuna.create_study(
        study_name="averaging",
        direction="maximize",
        sampler=sampler or EPBTSampler(4, n_elites=2, seed=0),
        storage=storage,
    )
    study.optimize(train, n_trials=n_trials)
    return study


def _empty() -> optuna.Study:
    return optuna.create_study(study_name="nobody", sampler=EPBTSampler(4, seed=0))


def _not_ours() -> optuna.Study:
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(study_name="random", sampler=sampler)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    return study


def _several_objectives() -> optuna.Study:
    study = optuna.create_study(study_name="pareto", directions=["maximize", "minimize"])
    study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 0.0), n_trials=2)
    return study


def only_failed() -> optuna.Study:
    """A study of ours in which everybody failed."""
    study = optuna.create_study(study_name="failed", sampler=EPBTSampler(4, seed=0))
    for _ in range(5):
        study.tell(study.ask(), state=TrialState.FAIL)
    return study


BAD_STUDIES: dict[str, tuple[Callable[[], optuna.Study], str]] = {
    "empty": (_empty, "Study 'nobody' is empty: it has no trials yet."),
    "not ours": (_not_ours, "Study 'random' has no generations: neither EPBTSampler nor"),
    "several objectives": (_several_objectives, "Study 'pareto' has no generations"),
}
"""Studies without a lineage, and the beginning of what is said about them."""
