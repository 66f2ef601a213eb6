"""Population Based Training of a small network, with Ray Tune."""

import os
import random
import tempfile
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

images, labels = load_digits(return_X_y=True)
parts = train_test_split((images / 16).astype("float32"), labels, test_size=0.4, random_state=0)
train_x, valid_x, train_y, valid_y = map(torch.tensor, parts)
SPACE = {
    "lr": tune.loguniform(1e-3, 1.0),
    "weight_decay": tune.loguniform(1e-6, 1e-2),
    "dropout": tune.uniform(0.0, 0.8),
}


def train(config: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    dropout = nn.Dropout(min(config["dropout"], 0.8))  # explored values may leave their range
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), dropout, nn.Linear(128, 10))
    own = {name: config[name] for name in ("lr", "weight_decay")}
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9, **own)
    if (checkpoint := tune.get_checkpoint()) is not None:
        with checkpoint.as_directory() as folder:
            state = torch.load(Path(folder, "state.pt"))
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        optimizer.param_groups[0].update(own)  # those of the parent have come along
    while True:  # Ray Tune ends it
        model.train()
        for batch in torch.randperm(len(train_y)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(train_x[batch]), train_y[batch]).backward()
            optimizer.step()
        model.eval()
        accuracy = (model(valid_x).argmax(1) == valid_y).float().mean().item()
        with tempfile.TemporaryDirectory() as folder:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state, Path(folder, "state.pt"))
            tune.report({"accuracy": accuracy}, checkpoint=tune.Checkpoint.from_directory(folder))


def run(n_generations: int = 20, seed: int = 0) -> float:
    random.seed(seed)  # which the scheduler draws from
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    tuner = tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=8,
            search_alg=tune.search.BasicVariantGenerator(random_state=seed),
            scheduler=PopulationBasedTraining(
                perturbation_interval=1, hyperparam_mutations=SPACE, log_config=False
            ),
            reuse_actors=True,  # a new process for each pause takes longer than its training
        ),
        run_config=tune.RunConfig(
            storage_path=os.path.abspath("ray"),
            stop={"training_iteration": n_generations},
            verbose=0,
        ),
    )
    results = tuner.fit()
    ray.shutdown()
    best = results.get_dataframe(filter_metric="accuracy", filter_mode="max")
    return float(best["accuracy"].max())


if __name__ == "__main__":
    print(f"{run():.4f}")
