from __future__ import annotations

import pytest
import torch

from epbt_optuna import restore_optimizer


def make(lr: float | torch.Tensor = 0.1) -> torch.optim.SGD:
    groups = [{"params": [torch.nn.Parameter(torch.ones(2))]} for _ in range(2)]
    return torch.optim.SGD(groups, lr=lr, momentum=0.9)


def stepped(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.full_like(parameter, 0.5)
    optimizer.step()
    return optimizer


def test_momentum_is_the_parents_and_the_learning_rate_the_trials() -> None:
    parent, child = stepped(make(lr=0.1)), make(lr=0.3)
    restore_optimizer(child, parent.state_dict(), lr=0.3)
    assert [group["lr"] for group in child.param_groups] == [0.3, 0.3]
    assert [group["momentum"] for group in child.param_groups] == [0.9, 0.9]
    for state in child.state.values():
        assert torch.equal(state["momentum_buffer"], torch.full((2,), 0.5))


def test_without_hyperparameters_everything_is_the_parents() -> None:
    child = make(lr=0.3)
    restore_optimizer(child, stepped(make(lr=0.1)).state_dict())
    assert [group["lr"] for group in child.param_groups] == [0.1, 0.1]


def test_a_scheduler_built_afterwards_starts_from_the_trials_learning_rate() -> None:
    parent = make(lr=0.1)
    torch.optim.lr_scheduler.StepLR(parent, step_size=1)
    child = make(lr=0.3)
    restore_optimizer(child, parent.state_dict(), lr=0.3)
    assert [group["initial_lr"] for group in child.param_groups] == [0.3, 0.3]
    scheduler = torch.optim.lr_scheduler.StepLR(child, step_size=1)
    assert scheduler.base_lrs == [0.3, 0.3]


def test_a_learning_rate_held_in_a_tensor_stays_a_tensor() -> None:
    child = make(lr=torch.tensor(0.3))
    restore_optimizer(child, make(lr=torch.tensor(0.1)).state_dict(), lr=0.5)
    assert all(torch.equal(group["lr"], torch.tensor(0.5)) for group in child.param_groups)


@pytest.mark.parametrize("name", ["learning_rate", "params"])
def test_an_unknown_hyperparameter_is_refused_before_anything_is_restored(name: str) -> None:
    child = make(lr=0.3)
    with pytest.raises(ValueError, match=f"`{name}` must be a hyperparameter of SGD: dampening"):
        restore_optimizer(child, stepped(make(lr=0.1)).state_dict(), **{name: 0.5})
    assert [group["lr"] for group in child.param_groups] == [0.3, 0.3]
