"""What is learnt, over which hyperparameters, and how long; one budget for all arms of a task.

The unit is a step: a network is trained for a while with hyperparameters that do not change
meanwhile, then evaluated. It is a generation of a population.
"""

from __future__ import annotations

from dataclasses import dataclass

from optuna.distributions import BaseDistribution, FloatDistribution

from examples.paper import ExperimentError


@dataclass(frozen=True)
class Variable:
    """A hyperparameter and its range."""

    name: str
    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Task:
    """One problem; `CNNTask` and `PPOTask` say which.

    Attributes:
        name: What the command line and the files call it.
        n_members: Networks that are trained at a time, where all of them train in every step.
        n_steps: Steps that a network is trained from start to end.
        variables: What is tuned.
        measure: What `Learner.test` returns, for the tables.
    """

    name: str
    n_members: int
    n_steps: int
    variables: tuple[Variable, ...]
    measure: str

    @property
    def budget(self) -> int:
        """Steps that every arm trains, all its networks together."""
        return self.n_members * self.n_steps

    @property
    def space(self) -> dict[str, BaseDistribution]:
        """The variables as Optuna's distributions."""
        return {
            variable.name: FloatDistribution(variable.low, variable.high, log=variable.log)
            for variable in self.variables
        }


@dataclass(frozen=True)
class CNNTask(Task):
    """A small convolutional network on Fashion-MNIST.

    Attributes:
        n_train: Images to train on.
        n_validation: Images to choose on.
        batch_size: Images in a step of SGD.
        epochs_per_step: Epochs in a step.
    """

    n_train: int
    n_validation: int
    batch_size: int
    epochs_per_step: int


@dataclass(frozen=True)
class PPOTask(Task):
    """Stable-Baselines3's PPO; what is not tuned is as in RL Baselines3 Zoo.

    Attributes:
        environment: A Gymnasium environment of continuous actions.
        worst_return: What a policy is given whose numbers are no longer finite.
        n_environments: Environments that are played at a time.
        n_rollout: Moves in each of them before an update; a step of ours is one update.
        n_epochs: Passes over those moves in an update.
        gamma: Discount.
        n_validation_episodes: Episodes to choose on, the same ones for all networks.
        n_test_episodes: Episodes to measure with, of seeds of their own.
    """

    environment: str
    worst_return: float
    n_environments: int
    n_rollout: int
    n_epochs: int
    gamma: float
    n_validation_episodes: int
    n_test_episodes: int


TASKS: dict[str, CNNTask | PPOTask] = {
    task.name: task
    for task in (
        # With p = G + 1 the paper's letter, 2G members of whom half stand still, has the same
        # number of steps: 2G + (G − 1)·G = (G + 1)·G.
        CNNTask(
            "cnn",
            n_members=16,
            n_steps=15,
            variables=(
                Variable("learning_rate", 1e-3, 1.0, log=True),
                Variable("weight_decay", 1e-6, 1e-2, log=True),
                Variable("momentum", 0.0, 0.99),
                Variable("dropout", 0.0, 0.6),
                Variable("label_smoothing", 0.0, 0.3),
                Variable("shift", 0.0, 4.0),
            ),
            measure="test accuracy, %",
            n_train=4_000,
            n_validation=2_000,
            batch_size=64,
            epochs_per_step=2,
        ),
        PPOTask(
            "ppo",
            n_members=8,
            n_steps=20,
            variables=(
                Variable("learning_rate", 1e-5, 1e-2, log=True),
                Variable("ent_coef", 1e-6, 1e-1, log=True),
                Variable("clip_range", 0.05, 0.4),
            ),
            measure="mean return of fresh episodes",
            environment="Pendulum-v1",
            worst_return=-3_255.0,  # 200 moves at its least reward, −(π² + 0.1·8² + 0.001·2²)
            n_environments=4,
            n_rollout=256,
            n_epochs=10,
            gamma=0.9,
            n_validation_episodes=20,
            n_test_episodes=100,
        ),
    )
}


def task_named(name: str) -> CNNTask | PPOTask:
    """Return a task by its name.

    Raises:
        ExperimentError: There is none of that name.
    """
    if name not in TASKS:
        raise ExperimentError(f"Task must be one of {', '.join(TASKS)} but got {name!r}.")
    return TASKS[name]
