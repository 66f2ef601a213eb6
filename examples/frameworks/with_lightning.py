"""Lightning: the learning rate and weight decay of a `LightningModule` evolve while it trains.

Module, schedule and trainer are those of one run of 8 epochs; each trial trains the next two.
"""

from typing import Any

import lightning
import optuna
import torch
from sklearn.datasets import load_digits

from epbt_optuna import CheckpointStore, EPBTPruner, EPBTSampler
from epbt_optuna.integrations import LightningCallback

checkpoints = CheckpointStore("checkpoints")
images, labels = (torch.tensor(array) for array in load_digits(return_X_y=True))
pairs: Any = list(zip(images.float() / 16, labels, strict=True))
train = torch.utils.data.DataLoader(pairs[:1200], batch_size=64, shuffle=True)
validation = torch.utils.data.DataLoader(pairs[1200:], batch_size=600)


class Network(lightning.LightningModule):
    def __init__(self, **hyperparameters: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(64, 10)

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self.layer(batch[0]), batch[1])

    def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
        self.log("accuracy", (self.layer(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), momentum=0.9, **self.hparams)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8)]


def objective(trial: optuna.Trial) -> float:
    lr = trial.suggest_float("lr", 1e-3, 1.0, log=True)
    weight_decay = trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
    callback = LightningCallback(trial, checkpoints, monitor="accuracy", epochs=2)
    trainer = lightning.Trainer(max_epochs=8, callbacks=[callback], enable_checkpointing=False)
    trainer.fit(Network(lr=lr, weight_decay=weight_decay), train, validation)
    return callback.fitness


if __name__ == "__main__":
    sampler = EPBTSampler(population_size=4, seed=0)
    study = optuna.create_study(
        study_name="lightning", storage="sqlite:///study.db", load_if_exists=True,
        direction="maximize", sampler=sampler, pruner=EPBTPruner(),
    )  # fmt: skip
    n_trials = sampler.n_trials(4, study)
    study.optimize(objective, n_trials, callbacks=[checkpoints.collector()])
    path = checkpoints.load_path(study.best_trial)
    print(Network.load_from_checkpoint(path, weights_only=True))
