"""Keras 3: weights, moments and step are the parent's, hyperparameters the model's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from epbt_optuna import CheckpointError
from epbt_optuna.integrations import restore_model

pytestmark = pytest.mark.filterwarnings("ignore:.*copy keyword:DeprecationWarning")  # Keras's

x = np.random.default_rng(0).normal(size=(40, 4))
y = x.sum(axis=1, keepdims=True)


class Watch(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.rates: list[float] = []

    def on_train_batch_begin(self, *_: Any, **__: Any) -> None:
        self.rates.append(float(self.model.optimizer.learning_rate))


def build(rate: Any, *, units: int = 3, optimizer: Any = None, **settings: Any) -> Any:
    keras.utils.set_random_seed(0)
    layers = keras.layers.Dense(units), keras.layers.Dense(1)
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile((optimizer or keras.optimizers.Adam)(rate, **settings), "mse")
    return model


def fit(model: Any, *callbacks: Any) -> Any:
    model.fit(x, y, batch_size=10, epochs=1, shuffle=False, verbose=0, callbacks=list(callbacks))
    return model


@pytest.fixture(params=["model.keras", "model.weights.h5"])
def parent(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Path]:
    model, path = fit(build(0.1, beta_1=0.5)), tmp_path / request.param
    model.save(path) if path.suffix == ".keras" else model.save_weights(path)
    return model, path


def test_the_child_starts_from_the_parent_with_its_own_rate_from_the_first_to_the_last_step(
    parent: tuple[Any, Path],
) -> None:
    model, path = parent
    child, watch = build(0.02), Watch()
    restore_model(child, path)
    assert all(map(np.array_equal, child.get_weights(), model.get_weights()))
    for own, parents in zip(child.optimizer.variables, model.optimizer.variables, strict=True):
        if own.name != "learning_rate":
            assert np.array_equal(
                keras.ops.convert_to_numpy(own), keras.ops.convert_to_numpy(parents)
            )
    assert int(child.optimizer.iterations) == 4
    assert child.optimizer.beta_1 == 0.9
    fit(child, watch)
    assert watch.rates == pytest.approx([0.02] * 4)


def test_a_schedule_stands_where_this_trials_would_at_the_parents_step(tmp_path: Path) -> None:
    def halving(rate: float) -> Any:
        return keras.optimizers.schedules.ExponentialDecay(rate, decay_steps=4, decay_rate=0.5)

    fit(build(halving(0.1))).save(tmp_path / "model.keras")
    child, watch = build(halving(0.08)), Watch()
    restore_model(child, tmp_path / "model.keras")
    fit(child, watch)
    assert watch.rates == pytest.approx([0.08 * 0.5 ** (step / 4) for step in range(4, 8)])


def test_generations_under_the_same_hyperparameters_are_one_run(tmp_path: Path) -> None:
    model, whole = fit(build(0.05)), fit(build(0.05))
    for generation in range(2):
        path = tmp_path / f"{generation}.keras"
        model.save(path)
        model = build(0.05)
        restore_model(model, path)
        fit(model)
        fit(whole)
    assert all(map(np.allclose, model.get_weights(), whole.get_weights()))


@pytest.mark.parametrize(
    "other",
    [
        lambda: build(0.1, units=5),
        lambda: build(0.1, optimizer=keras.optimizers.SGD),
        lambda: build(keras.optimizers.schedules.ExponentialDecay(0.1, 4, 0.5)),
    ],
    ids=["another shape", "another optimizer", "a schedule in place of a rate"],
)
def test_what_does_not_fit_is_refused(parent: tuple[Any, Path], other: Any) -> None:
    with pytest.raises(CheckpointError, match="`path` must be a file of Keras 3"):
        restore_model(other(), parent[1])


@pytest.mark.parametrize(
    ("own", "parents"),
    [
        (keras.optimizers.RMSprop, {"optimizer": keras.optimizers.SGD, "momentum": 0.9}),
        (keras.optimizers.Adagrad, {"optimizer": keras.optimizers.RMSprop}),
        (keras.optimizers.Lion, {"optimizer": keras.optimizers.SGD, "momentum": 0.9}),
        (keras.optimizers.Adadelta, {"optimizer": keras.optimizers.Adam}),
        (keras.optimizers.Adam, {"optimizer": keras.optimizers.AdamW}),
    ],
)
@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5"])
def test_an_optimizer_with_as_many_variables_of_another_meaning_is_refused(
    tmp_path: Path, name: str, own: Any, parents: dict[str, Any]
) -> None:
    model, path = fit(build(0.1, **parents)), tmp_path / name
    model.save(path) if path.suffix == ".keras" else model.save_weights(path)
    child = build(0.1, optimizer=own)
    with pytest.raises(
        CheckpointError, match=r"cannot be restored: its optimizer is .*, and the m"
    ):
        restore_model(child, path)
    same = build(0.02, **parents)
    restore_model(same, path)
    assert int(same.optimizer.iterations) == 4


@pytest.mark.filterwarnings("ignore:.*HDF5")
def test_a_file_of_the_old_format_which_would_bring_no_moments_is_refused(tmp_path: Path) -> None:
    fit(build(0.1)).save(tmp_path / "model.h5")
    with pytest.raises(CheckpointError, match=r"it has none of an optimizer: save a `.keras` or"):
        restore_model(build(0.1), tmp_path / "model.h5")


def test_a_file_of_another_framework_is_refused(tmp_path: Path) -> None:
    for name in ("model.keras", "model.ckpt"):
        (tmp_path / name).write_text("something else")
        with pytest.raises(CheckpointError, match="`path` must be a file of Keras 3"):
            restore_model(build(0.1), tmp_path / name)


def test_a_model_is_built_and_compiled_before(parent: tuple[Any, Path]) -> None:
    for model in (keras.Sequential([keras.layers.Dense(1)]), keras.Sequential([keras.Input((4,))])):
        with pytest.raises(ValueError, match="`model` must be built"):
            restore_model(model, parent[1])
