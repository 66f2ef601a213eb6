"""XGBoost: step size, depth and row sampling of boosting evolve, a few rounds at a time.

Trees keep the step size that they were grown with. The file is XGBoost's own, and known to it by
its suffix. LightGBM differs in two names: `init_model=parent` and `Booster(model_file=path)`.
"""

import tempfile

import numpy as np
import optuna
import xgboost
from sklearn.datasets import load_digits

from epbt_optuna import CheckpointStore, EPBTSampler

checkpoints = CheckpointStore("checkpoints")
images, labels = load_digits(return_X_y=True)
train = xgboost.DMatrix(images[:800], labels[:800])
validation = xgboost.DMatrix(images[800:], labels[800:])


def log_loss(model: xgboost.Booster) -> float:
    probabilities = model.predict(validation)
    return float(-np.log(probabilities[np.arange(997), labels[800:]]).mean())


def objective(trial: optuna.Trial) -> float:
    params = {
        "objective": "multi:softprob",
        "num_class": 10,
        "nthread": 1,
        "eta": trial.suggest_float("eta", 0.01, 1.0, log=True),
        "max_depth": trial.suggest_int("max_depth", 2, 6),
        "subsample": trial.suggest_float("subsample", 0.3, 1.0),
    }
    parent = checkpoints.inherit_path(trial)  # None for a founder, as XGBoost has it
    model = xgboost.train(params, train, num_boost_round=3, xgb_model=parent)
    with tempfile.TemporaryDirectory() as folder:
        model.save_model(f"{folder}/model.ubj")
        checkpoints.save_path(trial, f"{folder}/model.ubj")
    return log_loss(model)


if __name__ == "__main__":
    sampler = EPBTSampler(population_size=8, seed=0)
    study = optuna.create_study(
        study_name="xgboost", storage="sqlite:///study.db", load_if_exists=True,
        direction="minimize", sampler=sampler,
    )  # fmt: skip
    n_trials = sampler.n_trials(5, study)
    study.optimize(objective, n_trials, callbacks=[checkpoints.collector()])
    path = checkpoints.load_path(study.best_trial)
    print("Log loss of the best:", log_loss(xgboost.Booster(model_file=path)))
