"""A run that is worth looking at: small networks learn handwritten digits in six generations."""

from __future__ import annotations

from pathlib import Path

import optuna
import torch
from sklearn.datasets import load_digits
from torch import nn

from epbt_optuna import CheckpointStore, EPBTSampler, restore_optimizer
from epbt_optuna.tracking import MLflowTracker

__all__ = ["NAME", "run_digits"]

NAME = "digits"
_N_TRAINED = 1000  # images; all others measure the fitness


def run_digits(tracker: MLflowTracker, folder: Path) -> optuna.Study:
    """Train 8 individuals for six generations of two epochs, 28 trials, and close the tracker."""
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    checkpoints = CheckpointStore(folder)

    def objective(trial: optuna.Trial) -> float:
        torch.manual_seed(trial.number)
        lr = trial.suggest_float("lr", 1e-3, 1.0, log=True)
        momentum = trial.suggest_float("momentum", 0.0, 0.95)
        dropout = nn.Dropout(trial.suggest_float("dropout", 0.0, 0.8))
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), dropout, nn.Linear(64, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr, momentum)
        start = 0
        if (state := checkpoints.inherit(trial)) is not None:
            model.load_state_dict(state["model"])
            restore_optimizer(optimizer, state["optimizer"])
            start = state["epoch"]
        fitness = 0.0
        for epoch in range(start, start + 2):
            model.train()
            for batch in torch.randperm(_N_TRAINED).split(50):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
                optimizer.step()
            model.eval()
            guess = model(x[_N_TRAINED:]).argmax(1)
            fitness = (guess == y[_N_TRAINED:]).float().mean().item()
            trial.report(fitness, epoch)
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        checkpoints.save(trial, {**state, "epoch": start + 2})
        return fitness

    sampler = EPBTSampler(8, seed=0)
    study = optuna.create_study(study_name=NAME, direction="maximize", sampler=sampler)
    study.optimize(objective, sampler.n_trials(6), callbacks=[checkpoints.collector(), tracker])
    tracker.close()
    return study
