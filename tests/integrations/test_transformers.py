"""Hugging Face `Trainer`: generations are one run, cut in pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from epbt_optuna import CheckpointStore, EPBTSampler
from epbt_optuna.integrations import TransformersCallback
from tests.integrations.generations import AtOnce, family

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*pin_memory:UserWarning", "ignore:::transformers", "ignore:::accelerate"
)

STEPS, WHOLE_RUN, WARMUP = 3, 12, 4
inputs = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
data = [{"x": x, "labels": torch.tensor(1.0)} for x in inputs]


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(4, 1)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        output = self.layer(x).flatten()
        return {"loss": (output - labels).square().mean(), "output": output}


class Recorder(TrainerCallback):
    """Notes what a trainer does."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.batches: list[torch.Tensor] = []
        self.first: dict[str, torch.Tensor] = {}
        self.first_moments: torch.Tensor | None = None
        self.has_ended = False

    def on_pre_optimizer_step(self, *_: Any, model: Any, optimizer: Any, **__: Any) -> None:
        if not self.rates:
            self.first = {key: value.clone() for key, value in model.state_dict().items()}
            moments = optimizer.state[model.layer.weight].get("exp_avg")
            self.first_moments = None if moments is None else moments.clone()
        self.rates.append(optimizer.param_groups[0]["lr"])

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.has_ended = True


def trainer_of(folder: Path, *callbacks: TrainerCallback, **settings: Any) -> Trainer:
    defaults = {
        "max_steps": WHOLE_RUN,
        "warmup_steps": WARMUP,
        "eval_strategy": "steps",
        "eval_steps": 2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "per_device_train_batch_size": 4,
        "use_cpu": True,
    }
    arguments = TrainingArguments(output_dir=str(folder), **{**defaults, **settings})
    return Trainer(
        Net(), arguments, train_dataset=data, eval_dataset=data, callbacks=list(callbacks)
    )


def train(
    trial: optuna.Trial, folder: Path, mate_weight: float = 0.0, **settings: Any
) -> tuple[Trainer, Recorder, TransformersCallback]:
    recorder = Recorder()
    checkpoints = CheckpointStore(folder / "checkpoints")
    callback = TransformersCallback(
        trial, checkpoints, monitor="eval_loss", steps=STEPS, mate_weight=mate_weight
    )
    rate = trial.suggest_float("lr", 1e-3, 1.0)
    trainer = trainer_of(folder, recorder, callback, learning_rate=rate, **settings)
    trainer.train()
    return trainer, recorder, callback


def linear(rate: float, step: int) -> float:
    """Return what Hugging Face's linear schedule makes of a rate at a step of the whole run."""
    return rate * min(step / WARMUP, (WHOLE_RUN - step) / (WHOLE_RUN - WARMUP))


def test_the_child_starts_from_the_parent_with_its_own_rate_from_the_first_to_the_last_step(
    tmp_path: Path,
) -> None:
    (first, _, _), (second, recorder, _) = (
        train(trial, tmp_path, adam_beta1=beta)
        for beta, (_, trial) in zip((0.5, 0.8), family({"lr": 0.1}, {"lr": 0.02}), strict=True)
    )
    for name, weights in first.model.state_dict().items():
        assert torch.equal(recorder.first[name], weights)
    assert recorder.first_moments is not None
    moments = first.optimizer.state[first.model.layer.weight]["exp_avg"]
    assert torch.equal(recorder.first_moments, moments)
    assert recorder.rates == pytest.approx([linear(0.02, step) for step in (3, 4, 5)])
    assert second.optimizer.param_groups[0]["betas"][0] == 0.8
    assert second.state.global_step == 6
    assert second.state.epoch == pytest.approx(6 / 5)


def test_a_child_may_start_between_its_parent_and_its_mate(tmp_path: Path) -> None:
    study = optuna.create_study(sampler=EPBTSampler(2, n_elites=1, seed=0))
    trained = []
    for rate in (0.1, 0.02):
        study.enqueue_trial({"lr": rate})
        trial = study.ask()
        trained.append(train(trial, tmp_path)[0])
        study.tell(trial, rate)
    child = study.ask()
    _, recorder, _ = train(child, tmp_path, mate_weight=0.25)
    lineage = study.trials[2].system_attrs["epbt:lineage"]
    parent, mate = trained[lineage["parent"]], trained[lineage["mate"]]
    for name, weights in parent.model.state_dict().items():
        average = 0.75 * weights + 0.25 * mate.model.state_dict()[name]
        assert torch.equal(recorder.first[name], average)
    first, second = (t.optimizer.state[t.model.layer.weight]["exp_avg"] for t in (parent, mate))
    assert recorder.first_moments is not None
    assert torch.equal(recorder.first_moments, 0.75 * first + 0.25 * second)
    with pytest.raises(ValueError, match="`mate_weight` must be in"):
        train(child, tmp_path, mate_weight=1.5)


def test_generations_under_the_same_hyperparameters_are_one_run(tmp_path: Path) -> None:
    in_order: dict[str, Any] = {
        "train_sampling_strategy": "sequential",
        "per_device_train_batch_size": 20,
    }
    runs = [train(trial, tmp_path, **in_order) for _, trial in family(*[{"lr": 0.1}] * 4)]
    recorder = Recorder()
    whole = trainer_of(tmp_path, recorder, learning_rate=0.1, **in_order)
    whole.train()
    assert [rate for run in runs for rate in run[1].rates] == pytest.approx(recorder.rates)
    for name, weights in whole.model.state_dict().items():
        assert torch.equal(runs[-1][0].model.state_dict()[name], weights)

    def losses(trainer: Trainer) -> list[Any]:
        history = trainer.state.log_history
        return [(log["step"], log["epoch"], log["loss"]) for log in history if "loss" in log]

    logged = [loss for run in runs for loss in losses(run[0])]
    assert logged == [pytest.approx(loss) for loss in losses(whole)]


class Stream(torch.utils.data.IterableDataset[Any]):
    """Examples in the order in which they come."""

    def __iter__(self) -> Any:
        return iter(data)


def first_batches(folder: Path, dataset: Any, **settings: Any) -> list[torch.Tensor]:
    """Return the first batch of a parent and of its child."""
    seen: list[torch.Tensor] = []

    class Watch(TrainerCallback):
        def on_train_begin(self, *_: Any, model: Any, **__: Any) -> None:
            model.register_forward_pre_hook(
                lambda module, _, given: seen.append(given["x"]) if module.training else None,
                with_kwargs=True,
            )

    for _, trial in family({"lr": 0.1}, {"lr": 0.1}):
        checkpoints = CheckpointStore(folder / "checkpoints")
        callback = TransformersCallback(trial, checkpoints, monitor="eval_loss", steps=STEPS)
        trainer = trainer_of(folder, Watch(), callback, learning_rate=0.1, **settings)
        trainer.train_dataset = dataset
        trainer.train()
    assert len(seen) == 2 * STEPS
    return [seen[0], seen[STEPS]]


@pytest.mark.parametrize("seedable", [True, False])
def test_each_generation_sees_other_batches(tmp_path: Path, seedable: bool) -> None:
    settings = {"accelerator_config": {"use_seedable_sampler": seedable}, "eval_on_start": True}
    first, second = first_batches(tmp_path, data, **settings)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("is_stream", [False, True])
def test_where_the_order_is_fixed_a_warning_says_that_the_batches_are_the_same(
    tmp_path: Path,
    is_stream: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if not is_stream:
        in_order = torch.utils.data.SequentialSampler(data)
        monkeypatch.setattr(Trainer, "_get_train_sampler", lambda *_: in_order)
    first, second = first_batches(tmp_path, Stream() if is_stream else data)
    assert torch.equal(first, second)
    (record,) = [r for r in caplog.records if r.name == "optuna.epbt_optuna.integrations"]
    assert "begins with the same batches" in record.getMessage()


def test_reports_come_at_each_evaluation_and_the_end_with_the_steps_of_the_whole_run(
    tmp_path: Path,
) -> None:
    for study, trial in family({"lr": 0.1}, {"lr": 0.02}):
        callback = train(trial, tmp_path)[2]
        reported = study.trials[trial.number].intermediate_values
        assert list(reported) == ([2, 3] if trial.number == 0 else [4, 6])
        assert callback.fitness == list(reported.values())[-1]


def test_an_epoch_may_end_with_a_generation(tmp_path: Path) -> None:
    for study, trial in family({"lr": 0.1}, {"lr": 0.02}):
        train(trial, tmp_path, eval_strategy="epoch")
        reported = study.trials[trial.number].intermediate_values
        assert list(reported) == ([3] if trial.number == 0 else [6])


def test_a_pruned_trial_ends_its_training_in_order_and_saves_nothing(tmp_path: Path) -> None:
    for study, trial in family({"lr": 0.1}, pruner=AtOnce()):
        recorder = Recorder()
        checkpoints = CheckpointStore(tmp_path / "checkpoints")
        callback = TransformersCallback(trial, checkpoints, monitor="eval_loss", steps=STEPS)
        with pytest.raises(optuna.TrialPruned, match="step 2"):
            trainer_of(tmp_path, recorder, callback).train()
        assert recorder.has_ended
        assert len(recorder.rates) == 2
        assert "epbt:checkpoint" not in study.trials[0].system_attrs


def test_the_winner_is_loaded_into_a_model_just_built(tmp_path: Path) -> None:
    ((study, trainer),) = [
        (study, train(trial, tmp_path)[0]) for study, trial in family({"lr": 0.1})
    ]
    best = Net()
    best.load_state_dict(CheckpointStore(tmp_path / "checkpoints").load(study.best_trial)["model"])
    assert torch.equal(best.layer.weight, trainer.model.layer.weight)
