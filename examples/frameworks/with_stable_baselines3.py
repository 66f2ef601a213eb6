"""Stable-Baselines3: learning rate, clip range and entropy bonus of PPO evolve while it plays.

Before every update PPO sets the learning rate of its optimizer itself, so the child's is its own.
"""

import gymnasium
import optuna
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy

from epbt_optuna import CheckpointStore, EPBTSampler

torch.set_num_threads(1)  # the network is small
checkpoints = CheckpointStore("checkpoints")
environment = gymnasium.make("CartPole-v1")


def build(**hyperparameters: float) -> PPO:
    return PPO("MlpPolicy", environment, n_steps=128, device="cpu", **hyperparameters)


def objective(trial: optuna.Trial) -> float:
    model = build(
        learning_rate=trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True),
        clip_range=trial.suggest_float("clip_range", 0.05, 0.4),
        ent_coef=trial.suggest_float("ent_coef", 1e-5, 1e-1, log=True),
    )
    if (state := checkpoints.inherit(trial)) is not None:
        model.set_parameters(state["parameters"])  # weights, and the moments of the optimizer
        model.num_timesteps = state["timesteps"]
    model.learn(512, reset_num_timesteps=False)
    reward, _ = evaluate_policy(model, environment, n_eval_episodes=3, warn=False)
    parameters = model.get_parameters()
    checkpoints.save(trial, {"parameters": parameters, "timesteps": model.num_timesteps})
    return float(reward)


if __name__ == "__main__":
    sampler = EPBTSampler(population_size=4, seed=0)
    study = optuna.create_study(
        study_name="cartpole", storage="sqlite:///study.db", load_if_exists=True,
        direction="maximize", sampler=sampler,
    )  # fmt: skip
    n_trials = sampler.n_trials(4, study)
    study.optimize(objective, n_trials, callbacks=[checkpoints.collector()])
    model = build()
    model.set_parameters(checkpoints.load(study.best_trial)["parameters"])
    print("Reward of the best:", evaluate_policy(model, environment, warn=False)[0])
