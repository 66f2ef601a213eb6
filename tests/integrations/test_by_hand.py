"""Frameworks that need nothing of ours: the lines that the page "Your framework" shows."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import gymnasium
import lightgbm
import numpy as np
import pytest
import torch
import xgboost
from sklearn.datasets import load_digits
from stable_baselines3 import PPO

from epbt_optuna import CheckpointStore
from tests.integrations.generations import family

X, y = load_digits(return_X_y=True)
X, y = X[:300], y[:300]


def test_a_child_of_stable_baselines3_plays_on_at_its_own_rate(tmp_path: Path) -> None:
    checkpoints = CheckpointStore(tmp_path)
    before: dict[str, Any] = {}
    rates: list[float] = []
    for generation, (_, trial) in enumerate(family({"lr": 1e-2}, {"lr": 1e-4})):
        rate = trial.suggest_float("lr", 1e-5, 1e-1)
        model = PPO("MlpPolicy", gymnasium.make("CartPole-v1"), rate, n_steps=64, device="cpu")
        if (state := checkpoints.inherit(trial)) is not None:
            model.set_parameters(state["parameters"])
            model.num_timesteps = state["timesteps"]
            for name, weights in before["policy"].items():
                assert torch.equal(model.policy.state_dict()[name], weights)
            moments = model.policy.optimizer.state_dict()["state"]
            for number, parents in before["policy.optimizer"]["state"].items():
                assert torch.equal(moments[number]["exp_avg"], parents["exp_avg"])
        model.policy.optimizer.register_step_pre_hook(
            lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
        )
        model.learn(128, reset_num_timesteps=False)
        assert model.num_timesteps == 128 * (generation + 1)
        before = copy.deepcopy(model.get_parameters())
        parameters = {"parameters": before, "timesteps": model.num_timesteps}
        checkpoints.save(trial, parameters)
    n = len(rates) // 2
    assert rates == [1e-2] * n + [1e-4] * n


def test_a_child_of_xgboost_grows_at_its_own_step_size() -> None:
    def grow(eta: float, parent: Any = None) -> xgboost.Booster:
        params = {"objective": "multi:softprob", "num_class": 10, "eta": eta, "nthread": 1}
        return xgboost.train(params, xgboost.DMatrix(X, y), 2, xgb_model=parent)

    parent = grow(0.5)
    child, other = grow(0.1, parent), grow(0.2, parent)
    assert child.num_boosted_rounds() == 4
    assert child.get_dump()[: 2 * 10] == parent.get_dump()
    config = json.loads(child.save_config())["learner"]["gradient_booster"]
    assert float(config["tree_train_param"]["eta"]) == pytest.approx(0.1)
    leaves, others = (
        booster[2:3].trees_to_dataframe().query("Feature == 'Leaf'")["Gain"].to_numpy()
        for booster in (child, other)
    )
    np.testing.assert_allclose(2 * leaves, others, rtol=1e-4, atol=1e-6)


def test_a_child_of_lightgbm_grows_at_its_own_rate(tmp_path: Path) -> None:
    def grow(rate: float, parent: Any = None) -> lightgbm.Booster:
        params = {"objective": "multiclass", "num_class": 10, "verbosity": -1, "num_threads": 1}
        return lightgbm.train(
            {**params, "learning_rate": rate}, lightgbm.Dataset(X, y), 2, init_model=parent
        )

    parent = grow(0.5)
    parent.save_model(tmp_path / "parent.txt")
    child = grow(0.1, tmp_path / "parent.txt")
    shrinkages = [tree["shrinkage"] for tree in child.dump_model()["tree_info"]]
    assert shrinkages[-2 * 10 :] == pytest.approx([0.1] * 20)
    assert len(shrinkages) == 4 * 10
    parents, own = (booster.dump_model()["tree_info"][:20] for booster in (parent, child))
    assert [tree["tree_structure"] for tree in own] == [tree["tree_structure"] for tree in parents]
