"""Stable-Baselines3's PPO on a Gymnasium environment, under three hyperparameters.

What is not tuned is what RL Baselines3 Zoo has for Pendulum-v1. Of the moments of the
environments nothing is inherited: every step starts new episodes.
"""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from examples.tuning.learners import Params, State, random_state
from examples.tuning.tasks import PPOTask

# What the first number of a random stream's key is: trials have numbers from 0 on.
_VALIDATION, _TEST = 2**32 - 1, 2**32 - 2


class PPOLearner:
    """The task on one seed.

    Args:
        task: Its sizes.
        seed: Decides the episodes, and with a step's key all else.
    """

    def __init__(self, task: PPOTask, seed: int) -> None:
        self._task = task
        self._seed = seed
        self._environments = self._make_environments(task.n_environments)
        self._validation = self._make_environments(task.n_validation_episodes)
        self._test = self._make_environments(task.n_test_episodes)

    def train(self, before: State | None, params: Params, key: tuple[int, int]) -> State:
        """Play and update once; see `Learner.train`."""
        if before is not None and before["diverged"]:
            return before
        model = self._make_model(params, random_state(self._seed, *key))
        if before is not None:
            # Adam's moments come with it, which updates change in place. PPO sets the learning rate
            # before every update, so that is this step's own.
            model.set_parameters(deepcopy(before["parameters"]))
        try:
            model.learn(self._task.n_environments * self._task.n_rollout)
        except ValueError:
            if all_finite(model):
                raise
            return {"parameters": model.get_parameters(), "diverged": True}
        return {"parameters": model.get_parameters(), "diverged": not all_finite(model)}

    def validate(self, state: State) -> float:
        """Return the mean return of the validation episodes."""
        return self._mean_return(state, self._validation, _VALIDATION)

    def test(self, state: State) -> float:
        """Return the mean return of the test episodes."""
        return self._mean_return(state, self._test, _TEST)

    def _mean_return(self, state: State, environments: Any, stream: int) -> float:
        """Play one episode in each environment, without exploring."""
        if state["diverged"]:
            return self._task.worst_return
        model = self._make_model({}, seed=0)
        model.set_parameters(state["parameters"])
        environments.seed(random_state(self._seed, stream))
        observations = environments.reset()
        returns = np.zeros(environments.num_envs)
        playing = np.ones(environments.num_envs, bool)
        while playing.any():
            actions, _ = model.predict(observations, deterministic=True)
            observations, rewards, ended, _ = environments.step(actions)
            returns += rewards * playing
            playing &= ~ended
        return float(returns.mean())

    def _make_model(self, params: Params, seed: int) -> Any:
        return PPO(
            "MlpPolicy",
            self._environments,
            n_steps=self._task.n_rollout,
            n_epochs=self._task.n_epochs,
            gamma=self._task.gamma,
            use_sde=True,
            sde_sample_freq=4,
            device="cpu",
            seed=seed,
            **params,
        )

    def _make_environments(self, n: int) -> Any:
        make = partial(gymnasium.make, self._task.environment, disable_env_checker=True)
        return DummyVecEnv([make] * n)


def all_finite(model: Any) -> bool:
    return all(bool(torch.isfinite(p).all()) for p in model.policy.parameters())
