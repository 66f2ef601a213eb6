"""Population Based Training of a small network, with epbt_optuna."""

import optuna
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from epbt_optuna import CheckpointStore, PBTSampler, parallel, restore_optimizer
from epbt_optuna.journal import journal_storage

images, labels = load_digits(return_X_y=True)
parts = train_test_split((images / 16).astype("float32"), labels, test_size=0.4, random_state=0)
train_x, valid_x, train_y, valid_y = map(torch.tensor, parts)
checkpoints = CheckpointStore("checkpoints")


def objective(trial: optuna.Trial) -> float:
    lr = trial.suggest_float("lr", 1e-3, 1.0, log=True)
    weight_decay = trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
    dropout = nn.Dropout(trial.suggest_float("dropout", 0.0, 0.8))
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), dropout, nn.Linear(128, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum=0.9, weight_decay=weight_decay)
    if (state := checkpoints.inherit(trial)) is not None:
        model.load_state_dict(state["model"])
        restore_optimizer(optimizer, state["optimizer"])  # the parent's momentum alone
    model.train()
    for batch in torch.randperm(len(train_y)).split(32):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(train_x[batch]), train_y[batch]).backward()
        optimizer.step()
    model.eval()
    accuracy: float = (model(valid_x).argmax(1) == valid_y).float().mean().item()
    checkpoints.save(trial, {"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    return accuracy


def run(n_generations: int = 20, seed: int = 0) -> float:
    study = optuna.create_study(
        study_name="digits",
        storage=journal_storage("study.log"),
        load_if_exists=True,
        sampler=PBTSampler(population_size=8, seed=seed),
        direction="maximize",
    )
    parallel.optimize(study, objective, n_generations=n_generations, workers=2)
    return study.best_value


if __name__ == "__main__":
    print(f"{run():.4f}")
