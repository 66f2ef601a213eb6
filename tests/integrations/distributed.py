"""A study whose trials train on two ranks: `python -m torch.distributed.run … lightning FOLDER`.

Rank 0 has the study; the others take part in each trial without having one.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import optuna
import torch
import torch.distributed as dist

from epbt_optuna import CheckpointStore, EPBTSampler
from tests.integrations.test_bad_input import Net, data

N_TRIALS = 4


class PrunesTheLast(optuna.pruners.BasePruner):
    def prune(self, _: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return trial.number == N_TRIALS - 1


class Model(Net):
    def __init__(self, lr: float) -> None:
        super().__init__()
        self.lr = lr

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), self.lr)


def lightning_objective(trial: optuna.Trial | None, lr: float, folder: Path) -> float:
    import lightning

    from epbt_optuna.integrations import LightningCallback

    callback = LightningCallback(
        trial, CheckpointStore(folder / "checkpoints"), monitor="eval_loss", epochs=2
    )
    trainer = lightning.Trainer(
        strategy="ddp", devices=2, accelerator="cpu", max_epochs=8, callbacks=[callback],
        logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    loader = torch.utils.data.DataLoader(data, batch_size=2)
    model = Model(lr)
    trainer.fit(model, loader, loader)
    say(model, trainer.optimizers[0], trainer.global_step, folder)
    return callback.fitness


def transformers_objective(trial: optuna.Trial | None, lr: float, folder: Path) -> float:
    from transformers import Trainer, TrainingArguments

    from epbt_optuna.integrations import TransformersCallback

    callback = TransformersCallback(
        trial, CheckpointStore(folder / "checkpoints"), monitor="eval_loss", steps=2
    )
    arguments = TrainingArguments(
        str(folder), learning_rate=lr, lr_scheduler_type="constant", max_steps=8, use_cpu=True,
        eval_strategy="steps", eval_steps=1, save_strategy="no", report_to="none",
        ddp_backend="gloo", per_device_train_batch_size=2, disable_tqdm=True,
    )  # fmt: skip
    model = Model(lr)
    trainer = Trainer(model, arguments, train_dataset=data, eval_dataset=data, callbacks=[callback])
    trainer.train()
    say(model, trainer.optimizer.optimizer, trainer.state.global_step, folder)
    return callback.fitness


def say(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    folder: Path,
) -> None:
    """Write down what a rank has trained."""
    weights = sum(float(value.double().sum()) for value in model.state_dict().values())
    said = [step, optimizer.param_groups[0]["lr"], weights]
    with (folder / f"rank{dist.get_rank()}.txt").open("a") as file:
        print(*said, file=file)


def main(framework: str, folder: Path) -> None:
    dist.init_process_group("gloo")
    torch.manual_seed(dist.get_rank())  # ranks build different weights: one's must win
    train = {"lightning": lightning_objective, "transformers": transformers_objective}[framework]

    def objective(trial: optuna.Trial | None) -> float:
        shared = [0.0 if trial is None else trial.suggest_float("lr", 1e-3, 1e-1, log=True)]
        dist.broadcast_object_list(shared)
        return train(trial, shared[0], folder)

    if dist.get_rank() == 0:
        sampler = EPBTSampler(2, n_elites=1, seed=0)
        study = optuna.create_study(
            sampler=sampler, pruner=PrunesTheLast(), storage=f"sqlite:///{folder}/study.db",
            study_name="ranks",
        )  # fmt: skip
        study.optimize(objective, N_TRIALS)
    else:
        for _ in range(N_TRIALS):
            with contextlib.suppress(optuna.TrialPruned):
                objective(None)
                (folder / "finished").open("a").write("1")
    dist.barrier()  # who leaves first would take the connection along
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
