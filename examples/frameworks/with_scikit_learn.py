"""scikit-learn: learning rate, momentum and penalty of a perceptron evolve while it trains.

`restore_estimator` gives the parent's estimator this trial's hyperparameters: set by `set_params`
alone, they would not reach the optimizer inside.
"""

import os
import tempfile

import joblib
import optuna
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from epbt_optuna import CheckpointStore, EPBTSampler
from epbt_optuna.integrations import restore_estimator

checkpoints = CheckpointStore("checkpoints")
images, labels = load_digits(return_X_y=True)
images = images / 16


def objective(trial: optuna.Trial) -> float:
    model = MLPClassifier(
        hidden_layer_sizes=(32,),
        solver="sgd",
        learning_rate_init=trial.suggest_float("learning_rate_init", 1e-4, 1.0, log=True),
        momentum=trial.suggest_float("momentum", 0.0, 0.99),
        alpha=trial.suggest_float("alpha", 1e-7, 1e-1, log=True),
    )
    if (parent := checkpoints.inherit_path(trial)) is not None:
        model = restore_estimator(model, joblib.load(parent))
    model.partial_fit(images[:1200], labels[:1200], classes=range(10))
    with tempfile.TemporaryDirectory() as folder:
        (path,) = joblib.dump(model, os.path.join(folder, "model.joblib"))
        checkpoints.save_path(trial, path)
    return float(model.score(images[1200:], labels[1200:]))


if __name__ == "__main__":
    sampler = EPBTSampler(population_size=8, seed=0)
    study = optuna.create_study(
        study_name="scikit-learn", storage="sqlite:///study.db", load_if_exists=True,
        direction="maximize", sampler=sampler,
    )  # fmt: skip
    n_trials = sampler.n_trials(6, study)
    study.optimize(objective, n_trials, callbacks=[checkpoints.collector()])
    path = checkpoints.load_path(study.best_trial)
    print("Accuracy of the best:", joblib.load(path).score(images[1200:], labels[1200:]))
