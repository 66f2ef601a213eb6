"""Lightning: generations are one run, cut in pieces, each under its own hyperparameters."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning
import optuna
import pytest
import torch
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    Callback,
    LearningRateFinder,
    StochasticWeightAveraging,
)
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset

from epbt_optuna import CheckpointStore
from epbt_optuna.integrations import LightningCallback
from tests.integrations.generations import AtOnce, family

pytestmark = pytest.mark.filterwarnings("ignore:::lightning")  # hints for larger trainings

EPOCHS, WHOLE_RUN, BATCHES = 2, 8, 3
inputs = torch.randn(4 * BATCHES, 4, generator=torch.Generator().manual_seed(0))
data = DataLoader(TensorDataset(inputs), batch_size=4)


class Net(lightning.LightningModule):
    def __init__(self, lr: float, schedule: str = "cosine") -> None:
        super().__init__()
        self.save_hyperparameters({"lr": lr, "schedule": schedule})
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch: list[torch.Tensor], _: int) -> Any:
        return (self.layer(batch[0]) - 1).square().mean()

    def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
        self.log("fitness", -(self.layer(batch[0]) - 1).square().mean())
        self.log("worse", torch.tensor(float(self.trainer.global_step)))

    def configure_optimizers(self) -> Any:
        optimizer = SGD(self.parameters(), self.hparams["lr"], momentum=0.9)
        if self.hparams["schedule"] == "cosine":
            return [optimizer], [CosineAnnealingLR(optimizer, WHOLE_RUN)]
        plateau = ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "worse"}}


class Recorder(Callback):
    """Notes what a trainer does."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.hooks: list[str] = []
        self.first: dict[str, torch.Tensor] = {}
        self.first_momentum: torch.Tensor | None = None

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        optimizer = trainer.optimizers[0]
        if not self.rates:
            self.first = {key: value.clone() for key, value in pl_module.state_dict().items()}
            momentum = optimizer.state[pl_module.layer.weight].get("momentum_buffer")
            self.first_momentum = None if momentum is None else momentum.clone()
        self.rates.append(optimizer.param_groups[0]["lr"])

    def on_train_end(self, *_: Any) -> None:
        self.hooks.append("train_end")

    def on_fit_end(self, *_: Any) -> None:
        self.hooks.append("fit_end")

    def teardown(self, *_: Any, **__: Any) -> None:
        self.hooks.append("teardown")


def trainer_of(*callbacks: Callback, **settings: Any) -> lightning.Trainer:
    return lightning.Trainer(
        callbacks=list(callbacks),
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_epochs": WHOLE_RUN, **settings},
    )


def fit(
    trial: optuna.Trial, checkpoints: CheckpointStore, *, schedule: str = "cosine"
) -> tuple[Net, lightning.Trainer, Recorder, LightningCallback]:
    recorder = Recorder()
    callback = LightningCallback(trial, checkpoints, monitor="fitness", epochs=EPOCHS)
    net = Net(trial.suggest_float("lr", 1e-3, 1.0), schedule)
    trainer = trainer_of(callback, recorder)
    trainer.fit(net, data, data)
    return net, trainer, recorder, callback


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path)


def test_the_child_starts_from_the_parent_with_its_own_rate_from_the_first_to_the_last_step(
    checkpoints: CheckpointStore,
) -> None:
    runs = [fit(trial, checkpoints) for _, trial in family({"lr": 0.1}, {"lr": 0.02})]
    (parent, first, _, _), (_, second, recorder, _) = runs
    for name, weights in parent.state_dict().items():
        assert torch.equal(recorder.first[name], weights)
    momentum = first.optimizers[0].state[parent.layer.weight]["momentum_buffer"]
    assert recorder.first_momentum is not None
    assert torch.equal(recorder.first_momentum, momentum)
    rates = [
        0.02 * (1 + math.cos(math.pi * epoch / WHOLE_RUN)) / 2
        for epoch in (2, 3)
        for _ in range(BATCHES)
    ]
    assert recorder.rates == pytest.approx(rates)
    assert (second.current_epoch, second.global_step) == (4, 4 * BATCHES)


def test_generations_under_the_same_hyperparameters_are_one_run(
    checkpoints: CheckpointStore,
) -> None:
    runs = [fit(trial, checkpoints) for _, trial in family(*[{"lr": 0.1}] * 3)]
    recorder, whole = Recorder(), Net(0.1)
    trainer = trainer_of(recorder)

    class Stop(Callback):
        def on_train_epoch_end(self, trainer: Any, *_: Any) -> None:
            trainer.should_stop = trainer.current_epoch == 3 * EPOCHS - 1

    trainer = trainer_of(recorder, Stop())
    trainer.fit(whole, data, data)
    assert [rate for run in runs for rate in run[2].rates] == pytest.approx(recorder.rates)
    for name, weights in whole.state_dict().items():
        assert torch.equal(runs[-1][0].state_dict()[name], weights)
    assert runs[-1][3].fitness == pytest.approx(trainer.callback_metrics["fitness"].item())


def test_a_plateau_goes_on_from_the_parents_reductions_of_this_trials_rate(
    checkpoints: CheckpointStore,
) -> None:
    runs = [
        fit(trial, checkpoints, schedule="plateau")
        for _, trial in family({"lr": 0.8}, {"lr": 0.08})
    ]
    assert [run[2].rates[::BATCHES] for run in runs] == [
        pytest.approx([0.8, 0.8]),
        pytest.approx([0.04, 0.02]),
    ]


def test_reports_come_at_each_validation_with_the_steps_of_the_whole_run(
    checkpoints: CheckpointStore,
) -> None:
    for study, trial in family({"lr": 0.1}, {"lr": 0.02}):
        callback = fit(trial, checkpoints)[3]
        reported = study.trials[trial.number].intermediate_values
        start = 0 if trial.number == 0 else 6
        assert list(reported) == [start + 3, start + 6]
        assert reported[start + 6] == callback.fitness


def test_a_pruned_trial_ends_its_training_in_order_and_saves_nothing(
    checkpoints: CheckpointStore,
) -> None:
    for study, trial in family({"lr": 0.1}, pruner=AtOnce()):
        recorder = Recorder()
        callback = LightningCallback(trial, checkpoints, monitor="fitness", epochs=EPOCHS)
        trainer = trainer_of(callback, recorder)
        with pytest.raises(optuna.TrialPruned, match="step 3"):
            trainer.fit(Net(0.1), data, data)
        assert recorder.hooks == ["train_end", "fit_end", "teardown"]
        assert len(recorder.rates) == BATCHES
        assert "epbt:checkpoint" not in study.trials[0].system_attrs


def test_the_winner_is_loaded_by_lightning(checkpoints: CheckpointStore, tmp_path: Path) -> None:
    ((study, net),) = [(study, fit(trial, checkpoints)[0]) for study, trial in family({"lr": 0.1})]
    path = checkpoints.load_path(study.best_trial, tmp_path / "best.ckpt")
    best = Net.load_from_checkpoint(path, weights_only=True)
    assert best.hparams["lr"] == 0.1
    assert torch.equal(best.layer.weight, net.layer.weight)


class Epochs(Callback):
    """Counts epochs, and has Lightning keep the count."""

    n = 0

    def on_train_epoch_end(self, *_: Any) -> None:
        self.n += 1

    def state_dict(self) -> dict[str, Any]:
        return {"n": self.n}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.n = state_dict["n"]


def test_other_callbacks_go_on_from_the_parents_state(checkpoints: CheckpointStore) -> None:
    for _, trial in family({"lr": 0.1}, {"lr": 0.1}):
        epochs = Epochs()
        callback = LightningCallback(trial, checkpoints, monitor="fitness", epochs=EPOCHS)
        trainer_of(callback, epochs).fit(Net(0.1), data, data)
    assert epochs.n == 2 * EPOCHS


@pytest.mark.parametrize("max_steps", [-1, 100])
def test_every_epoch_of_a_generation_is_trained_and_scheduled(
    checkpoints: CheckpointStore, max_steps: int
) -> None:
    for generation, (_, trial) in enumerate(family(*[{"lr": 0.1}] * 3)):
        recorder = Recorder()
        callback = LightningCallback(trial, checkpoints, monitor="fitness", epochs=EPOCHS)
        trainer = trainer_of(callback, recorder, max_steps=max_steps)
        trainer.fit(Net(0.1), data, data)
        assert len(recorder.rates) == EPOCHS * BATCHES
        assert trainer.global_step == (generation + 1) * EPOCHS * BATCHES
        epochs = range(generation * EPOCHS, (generation + 1) * EPOCHS)
        rates = [0.1 * (1 + math.cos(math.pi * epoch / WHOLE_RUN)) / 2 for epoch in epochs]
        assert recorder.rates[::BATCHES] == pytest.approx(rates)
        assert trainer.max_steps == max_steps


class Ending(Callback):
    """Puts other weights into the module at the end, as averaging ones do."""

    def on_train_end(self, _: Any, pl_module: Any) -> None:
        torch.nn.init.zeros_(pl_module.layer.weight)


@pytest.mark.parametrize("is_first", [False, True])
def test_what_is_saved_was_trained_wherever_the_callback_stands_among_others(
    checkpoints: CheckpointStore, is_first: bool
) -> None:
    for _, trial in family({"lr": 0.1}, {"lr": 0.1}):
        recorder = Recorder()
        callback = LightningCallback(trial, checkpoints, monitor="fitness", epochs=EPOCHS)
        both = [callback, Ending()] if is_first else [Ending(), callback]
        trainer_of(*both, recorder).fit(Net(0.1), data, data)
    assert recorder.first["layer.weight"].all()


def test_a_child_of_a_parent_that_stopped_within_an_epoch_trains_whole_ones(
    checkpoints: CheckpointStore,
) -> None:
    class StopAtStep2(Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            trainer.should_stop |= trainer.global_step == 2

    for study, trial in family({"lr": 0.1}, {"lr": 0.1}):
        recorder = Recorder()
        callback = LightningCallback(trial, checkpoints, monitor="fitness", epochs=EPOCHS)
        trainer_of(callback, recorder, StopAtStep2()).fit(Net(0.1), data, data)
        reported = list(study.trials[trial.number].intermediate_values)
    assert len(recorder.rates) == EPOCHS * BATCHES
    assert reported == [2 + BATCHES, 2 + 2 * BATCHES]


class ForAnyData(BatchSizeFinder):
    """Does not ask for data that the module itself loads."""

    def setup(self, *_: Any, **__: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("other", "name"),
    [
        (ForAnyData(), "BatchSizeFinder"),
        (LearningRateFinder(), "LearningRateFinder"),
        (StochasticWeightAveraging(0.1), "StochasticWeightAveraging"),
    ],
)
def test_callbacks_that_take_over_what_is_the_trials_are_refused_before_the_first_step(
    checkpoints: CheckpointStore, other: Callback, name: str
) -> None:
    for _, trial in family({"lr": 0.1}):
        recorder = Recorder()
        callback = LightningCallback(trial, checkpoints, monitor="fitness", epochs=EPOCHS)
        with pytest.raises(ValueError, match=f"`callbacks` must have no {name}: "):
            trainer_of(callback, recorder, other).fit(Net(0.1), data, data)
        assert not recorder.rates
