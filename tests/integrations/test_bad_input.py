"""What the callbacks refuse, by name and before the first step."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import lightning
import numpy as np
import optuna
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from transformers import Trainer, TrainerCallback, TrainingArguments

from epbt_optuna import CheckpointError, CheckpointStore
from epbt_optuna.integrations import LightningCallback, TransformersCallback
from tests.integrations.generations import family

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*pin_memory:UserWarning",
    "ignore:::lightning",
    "ignore:::transformers",
    "ignore:::accelerate",
)


class Odd:
    """Of a class that a checkpoint cannot hold without code."""


Train: TypeAlias = Callable[..., None]


class Net(lightning.LightningModule):
    """A network for both, that knows how many steps it was trained."""

    def __init__(self, n_hidden: int = 2) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(4, n_hidden), torch.nn.Linear(n_hidden, 1)
        )
        self.hyperparameter: Any = None

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        output = self.layers(x).flatten()
        return {"loss": (output - labels).square().mean(), "output": output}

    def training_step(self, batch: dict[str, torch.Tensor], _: int) -> Any:
        return self(**batch)["loss"]

    def validation_step(self, batch: dict[str, torch.Tensor], _: int) -> None:
        self.log("eval_loss", self(**batch)["loss"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam([p for p in self.parameters() if p.requires_grad])


data: Any = [{"x": torch.zeros(4), "labels": torch.zeros(())}] * 4


class Steps:
    """Counts the steps of a trainer of either kind."""

    n = 0


def fit(*callbacks: Callback, net: Net | None = None, ckpt_path: Any = None, **more: Any) -> None:
    class Count(Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            Steps.n += 1

    loaders: Any = [torch.utils.data.DataLoader(data, batch_size=4)] * 2
    settings: dict[str, Any] = {"max_epochs": 8, "accelerator": "cpu", "logger": False, **more}
    for name in ("checkpointing", "progress_bar", "model_summary"):
        settings.setdefault(f"enable_{name}", False)
    trainer = lightning.Trainer(callbacks=[*callbacks, Count()], **settings)
    trainer.fit(net or Net(), *loaders, ckpt_path=ckpt_path)


def train(
    *callbacks: TrainerCallback, net: Net | None = None, ckpt_path: Any = None, **more: Any
) -> None:
    class Count(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            Steps.n += 1

    settings: dict[str, Any] = {
        "max_steps": 8, "use_cpu": True, "report_to": "none", "disable_tqdm": True,
        "eval_strategy": "steps", "eval_steps": 1, "save_strategy": "no", "output_dir": "trainer",
    }  # fmt: skip
    arguments = TrainingArguments(**{**settings, **more})
    trainer = Trainer(
        net or Net(), arguments, train_dataset=data, eval_dataset=data,
        callbacks=[*callbacks, Count()],
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=ckpt_path)


BOTH: dict[str, tuple[Callable[..., Any], Train, str]] = {
    "lightning": (LightningCallback, fit, "epochs"),
    "transformers": (TransformersCallback, train, "steps"),
}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Steps.n = 0


@pytest.fixture(params=BOTH)
def framework(request: pytest.FixtureRequest) -> tuple[Callable[..., Any], Train]:
    make, run, length = BOTH[request.param]

    def callback(trial: Any, **settings: Any) -> Any:
        store = CheckpointStore("checkpoints")
        defaults = {"checkpoints": store, "monitor": "eval_loss", length: 2}
        if "length" in settings:
            settings[length] = settings.pop("length")
        return make(trial, **{**defaults, **settings})

    return callback, run


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"checkpoints": None}, TypeError, "`checkpoints` must be a CheckpointStore but got None"),
        ({"checkpoints": "folder"}, TypeError, "`checkpoints` must be a CheckpointStore"),
        ({"monitor": None}, TypeError, "`monitor` must be the name of a metric but got None"),
        ({"length": 0}, ValueError, "`(epochs|steps)` must be at least 1 but got 0"),
        ({"length": 1.5}, TypeError, "`(epochs|steps)` must be an integer but got 1.5"),
    ],
)
def test_arguments_are_checked_when_the_callback_is_made(
    framework: Any, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    for _, trial in family({}):
        with pytest.raises(error, match=message):
            framework[0](trial, **settings)


def test_a_callback_is_made_for_a_running_trial(framework: Any) -> None:
    callback, run = framework
    with pytest.raises(TypeError, match=r"`trial` must be the running .* but got .*FixedTrial"):
        callback(optuna.trial.FixedTrial({}))
    with pytest.raises(TypeError, match=r"`trial` must be .* on rank 0 but got None"):
        run(callback(None))
    for _, trial in family({}):
        late = callback(trial)
    with pytest.raises(ValueError, match="`trial` must be running but trial 0 is COMPLETE"):
        run(late)
    assert Steps.n == 0


def test_a_study_has_generations(framework: Any) -> None:
    callback, run = framework
    with pytest.raises(ValueError, match="generations but study 'plain' has none"):
        run(callback(optuna.create_study(study_name="plain").ask()))
    assert Steps.n == 0


def test_a_trial_is_trained_once(framework: Any) -> None:
    callback, run = framework
    for _, trial in family({}):
        used = callback(trial)
        run(used)
        for again in (used, callback(trial)):
            with pytest.raises(ValueError, match="trial 0 has been begun already"):
                run(again)
    for _, trial in family({}):
        with pytest.raises(ValueError, match="trial 0 has been begun already"):
            run(callback(trial), callback(trial))
    assert Steps.n == 2


def test_the_trainer_restores_nothing_by_itself(framework: Any) -> None:
    callback, run = framework
    if run is fit:
        path = "checkpoint.ckpt"
        plain = lightning.Trainer(max_epochs=1, logger=False, accelerator="cpu")
        plain.fit(Net(), torch.utils.data.DataLoader(data, batch_size=4))
        plain.save_checkpoint(path)
    else:
        path = "trainer/checkpoint-1"
        train(max_steps=1, save_strategy="steps", save_steps=1)
    Steps.n = 0
    for _, trial in family({}):
        with pytest.raises(ValueError, match=r"`(ckpt_path|resume_from_checkpoint)` must be None"):
            run(callback(trial), ckpt_path=path)
    assert Steps.n == 0


def test_the_metric_is_one_that_is_evaluated(framework: Any) -> None:
    callback, run = framework
    for _, trial in family({}):
        with pytest.raises(ValueError, match=r"`monitor` must be .*'eval_loss'.* but got 'acc'"):
            run(callback(trial, monitor="acc", length=4))
    assert Steps.n == 0


def test_a_callback_that_no_trainer_was_given_says_so(framework: Any) -> None:
    callback, _ = framework
    for _, trial in family({}):
        with pytest.raises(ValueError, match="must be among the trainer's `callbacks` before"):
            _ = callback(trial).fitness


def test_the_run_is_longer_than_the_generation(framework: Any) -> None:
    callback, run = framework
    for _, trial in family({}):
        with pytest.raises(
            ValueError, match=r"`max_(epochs|steps)` must be .* at least 9, .* is 8"
        ):
            run(callback(trial, length=9))
    for generation, (_, trial) in enumerate(family({}, {})):
        if generation == 0:
            run(callback(trial, length=8))
        else:
            with pytest.raises(ValueError, match="at least 16, as the parent has trained 8"):
                run(callback(trial, length=8))
    assert Steps.n == 8


@pytest.mark.parametrize(
    "settings",
    [
        {"eval_strategy": "no"},
        {"load_best_model_at_end": True, "save_strategy": "steps", "save_steps": 1},
        {"auto_find_batch_size": True},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_arguments_of_hugging_face_that_do_not_suit(settings: dict[str, Any]) -> None:
    for _, trial in family({}):
        callback = TransformersCallback(
            trial, CheckpointStore("checkpoints"), monitor="eval_loss", steps=2
        )
        with pytest.raises(ValueError, match=f"`{next(iter(settings))}` must be"):
            train(callback, **settings)
    assert Steps.n == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_epochs": 3}, "`min_epochs` must be None"),
        ({"min_steps": 3}, "`min_steps` must be None"),
        ({"limit_val_batches": 0}, "`fit` must be given data to validate on"),
        ({"max_steps": 0}, "`fit` must train but ended before its first step"),
    ],
)
def test_settings_of_lightning_that_do_not_suit(settings: dict[str, Any], message: str) -> None:
    for _, trial in family({}):
        callback = LightningCallback(
            trial, CheckpointStore("checkpoints"), monitor="eval_loss", epochs=2
        )
        with pytest.raises(ValueError, match=message):
            fit(callback, **settings)
    assert Steps.n == 0


def saved_state(checkpoints: CheckpointStore, trial: optuna.Trial) -> None:
    checkpoints.save(trial, {"model": {}})


def saved_file(checkpoints: CheckpointStore, trial: optuna.Trial) -> None:
    Path("model.txt").write_text("trees")
    checkpoints.save_path(trial, "model.txt")


def saved_folder(checkpoints: CheckpointStore, trial: optuna.Trial) -> None:
    Path("model").mkdir(exist_ok=True)
    checkpoints.save_path(trial, "model")


def saved_by_lightning_1(checkpoints: CheckpointStore, trial: optuna.Trial) -> None:
    torch.save({"pytorch-lightning_version": "1.9.5"}, "old.ckpt")
    checkpoints.save_path(trial, "old.ckpt")


@pytest.mark.parametrize(
    "save",
    [saved_state, saved_file, saved_folder, saved_by_lightning_1],
    ids=lambda save: save.__name__,
)
def test_the_parents_checkpoint_is_of_the_same_framework_and_version(
    framework: Any, save: Callable[[CheckpointStore, optuna.Trial], None]
) -> None:
    callback, run = framework
    for generation, (_, trial) in enumerate(family({}, {})):
        if generation == 0:
            save(CheckpointStore("checkpoints"), trial)
        else:
            with pytest.raises(CheckpointError, match=r"[Tt]rial [02]"):
                run(callback(trial))
    assert Steps.n == 0


def test_the_child_is_built_as_its_parent_was(framework: Any) -> None:
    callback, run = framework
    for generation, (_, trial) in enumerate(family({}, {})):
        if generation == 0:
            run(callback(trial))
            Steps.n = 0
        else:
            with pytest.raises(
                CheckpointError, match=r"(?s)Trial 2 inherits .* does not fit .*size"
            ):
                run(callback(trial), net=Net(n_hidden=3))
    assert Steps.n == 0


def test_layers_that_were_thawed_since_are_named_without_advice_that_nobody_can_follow() -> None:
    for generation, (_, trial) in enumerate(family({}, {})):
        net = Net()
        net.layers[0].requires_grad_(generation > 0)
        callback = LightningCallback(
            trial, CheckpointStore("checkpoints"), monitor="eval_loss", epochs=2
        )
        if generation == 0:
            fit(callback, net=net)
        else:
            with pytest.raises(CheckpointError, match=r"built alike .* 4 parameters but") as caught:
                fit(callback, net=net)
            assert "on_mismatch" not in str(caught.value)


@pytest.mark.parametrize(
    "value", [Odd(), np.float64(0.1), Path("folder")], ids=lambda v: type(v).__name__
)
@pytest.mark.parametrize("generation", [0, 1])
def test_what_could_not_be_read_back_is_not_saved_and_found_before_a_study_trains(
    generation: int, value: Any
) -> None:
    for n, (study, trial) in enumerate(family({}, {})):
        net = Net()
        callback = LightningCallback(
            trial, CheckpointStore("checkpoints"), monitor="eval_loss", epochs=2
        )
        if n < generation:
            fit(callback, net=net)
            continue
        net.save_hyperparameters({"odd": value})
        with pytest.raises(CheckpointError, match="save_hyperparameters"):
            fit(callback, net=net)
        assert "epbt:checkpoint" not in study.trials[trial.number].system_attrs
        break
    assert Steps.n == 4 * generation


@pytest.mark.parametrize(
    ("package", "name", "extra"),
    [
        ("lightning", "LightningCallback", "lightning"),
        ("transformers", "TransformersCallback", "transformers"),
        ("h5py", "restore_model", "keras"),
    ],
)
def test_a_framework_that_is_not_installed_is_named_with_its_extra(
    package: str, name: str, extra: str
) -> None:
    program = f"""
import sys
sys.modules["{package}"] = None
from epbt_optuna.integrations import {name}
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    needed = f"`{name}` needs {package}, which is not installed: pip install 'epbt-optuna[{extra}]'"
    assert needed in result.stderr
