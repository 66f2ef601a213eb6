"""Keras 3: learning rate and weight decay of a compiled model evolve while it trains.

KERAS_BACKEND=torch python examples/frameworks/with_keras.py
"""

import tempfile

import keras
import optuna
from sklearn.datasets import load_digits

from epbt_optuna import CheckpointStore, EPBTSampler
from epbt_optuna.integrations import restore_model

checkpoints = CheckpointStore("checkpoints")
images, labels = load_digits(return_X_y=True)
images = images / 16


def objective(trial: optuna.Trial) -> float:
    layers = keras.layers.Dense(64, "relu"), keras.layers.Dense(10)
    model = keras.Sequential([keras.Input((64,)), *layers])
    model.compile(
        keras.optimizers.AdamW(
            learning_rate=trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
            weight_decay=trial.suggest_float("weight_decay", 1e-4, 1.0, log=True),
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    if (parent := checkpoints.inherit_path(trial)) is not None:
        restore_model(model, parent)
    model.fit(images[:1200], labels[:1200], batch_size=64, epochs=1, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")
        checkpoints.save_path(trial, f"{folder}/model.keras")
    return float(model.evaluate(images[1200:], labels[1200:], verbose=0)[1])


if __name__ == "__main__":
    sampler = EPBTSampler(population_size=4, seed=0)
    study = optuna.create_study(
        study_name="keras", storage="sqlite:///study.db", load_if_exists=True,
        direction="maximize", sampler=sampler,
    )  # fmt: skip
    n_trials = sampler.n_trials(4, study)
    study.optimize(objective, n_trials, callbacks=[checkpoints.collector()])
    path = checkpoints.load_path(study.best_trial)
    best = keras.models.load_model(path)
    print("Accuracy of the best:", best.evaluate(images[1200:], labels[1200:], verbose=0)[1])
