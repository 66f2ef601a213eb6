"""A number goes from parent to child, as the weights of a network would."""

import tempfile
from pathlib import Path

import optuna
import optunahub

from epbt_optuna import CheckpointStore

EPBTSampler = optunahub.load_module("samplers/epbt").EPBTSampler


def objective(trial: optuna.Trial) -> float:
    rate = trial.suggest_float("rate", 0.0, 1.0)
    parent = checkpoints.inherit_path(trial)  # None in generation 0
    weight = 0.0 if parent is None else float(parent.read_text())
    weight += rate * (1.0 - weight)  # one step of training
    file = Path(folder, f"weight-{trial.number}")
    file.write_text(str(weight))
    checkpoints.save_path(trial, file)  # for the trial's children
    return weight


with tempfile.TemporaryDirectory() as folder:
    checkpoints = CheckpointStore(Path(folder, "checkpoints"))
    sampler = EPBTSampler(population_size=8, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=sampler.n_trials(10))
    print(f"Trial {study.best_trial.number} has reached {study.best_value:.4f}.")
