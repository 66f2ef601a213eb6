"""A step depends on its network, its values and its key, and on nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from examples.paper import ExperimentError
from examples.tuning.cnn import shift
from examples.tuning.learners import Learner, make_learner
from examples.tuning.tasks import CNNTask, PPOTask, task_named
from tests.tuning.jobs import TINY, TINY_PPO

CNN_PARAMS = {
    "learning_rate": 0.1, "weight_decay": 1e-4, "momentum": 0.9,
    "dropout": 0.3, "label_smoothing": 0.1, "shift": 2.0,
}  # fmt: skip
PPO_PARAMS = {"learning_rate": 1e-3, "ent_coef": 1e-3, "clip_range": 0.2}
CASES = pytest.mark.parametrize(
    ("task", "params"), [(TINY, CNN_PARAMS), (TINY_PPO, PPO_PARAMS)], ids=["cnn", "ppo"]
)


def weights(state: Any) -> Tensor:
    """Return what an optimizer changes; running statistics move without one."""
    tensors = state["network"] if "network" in state else state["parameters"]["policy"]
    names = [name for name in tensors if name.endswith(("weight", "bias"))]
    return torch.cat([tensors[name].flatten() for name in names])


@CASES
def test_the_same_key_gives_the_same_network_and_another_another(
    data_root: Path, task: CNNTask | PPOTask, params: dict[str, float]
) -> None:
    learner = make_learner(task, 0, data_root)
    first = learner.train(None, params, (0, 0))
    torch.rand(1)
    assert torch.equal(weights(first), weights(learner.train(None, params, (0, 0))))
    assert not torch.equal(weights(first), weights(learner.train(None, params, (1, 0))))
    second = weights(learner.train(first, params, (0, 1)))
    assert torch.equal(second, weights(learner.train(first, params, (0, 1))))
    assert not torch.equal(second, weights(learner.train(first, params, (0, 2))))


@CASES
def test_a_step_goes_on_from_the_network_with_its_own_learning_rate(
    data_root: Path, task: CNNTask | PPOTask, params: dict[str, float]
) -> None:
    learner = make_learner(task, 0, data_root)
    before = learner.train(None, params, (0, 0))
    still = learner.train(before, {**params, "learning_rate": 1e-12}, (0, 1))
    assert float((weights(before) - weights(still)).abs().max()) < 1e-9


@CASES
def test_evaluation_is_repeatable_and_tests_on_something_else(
    data_root: Path, task: CNNTask | PPOTask, params: dict[str, float]
) -> None:
    learner = make_learner(task, 0, data_root)
    state = learner.train(None, params, (0, 0))
    assert learner.validate(state) == learner.validate(state)
    assert learner.test(state) == learner.test(state)
    if isinstance(task, PPOTask):
        assert task.n_validation_episodes == task.n_test_episodes
        assert learner.validate(state) != learner.test(state)


def test_a_policy_that_is_no_longer_finite_gets_the_worst_return() -> None:
    learner: Learner = make_learner(TINY_PPO, 0, Path())
    state = learner.train(None, PPO_PARAMS, (0, 0))
    for tensor in state["parameters"]["policy"].values():
        tensor.fill_(torch.nan)
    diverged = learner.train(state, PPO_PARAMS, (0, 1))
    assert diverged["diverged"]
    assert learner.validate(diverged) == learner.test(diverged) == TINY_PPO.worst_return
    assert learner.train(diverged, PPO_PARAMS, (0, 2)) is diverged


@pytest.mark.parametrize("most", [0.0, 0.4, 1.0, 2.5])
def test_images_are_moved_by_up_to_so_many_pixels_in_all_directions(most: float) -> None:
    torch.manual_seed(0)
    images = torch.zeros(400, 1, 9, 9)
    images[:, 0, 4, 4] = 1.0
    places = shift(images, most)[:, 0].nonzero()[:, 1:] - 4
    assert len(places) == 400
    furthest = round(most)
    assert set(places.flatten().tolist()) == set(range(-furthest, furthest + 1))


def test_tasks_that_are_not_there_are_named() -> None:
    with pytest.raises(ExperimentError, match="one of cnn, ppo but got 'mlp'"):
        task_named("mlp")
