"""Optimizers for stacked parameters step as `torch.optim` does for each member alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from epbt_optuna import restore_optimizer
from epbt_optuna.batched import SGD, AdamW

P = 3
RATES = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
SHAPES = [(), (2,), (2, 3)]
TORCHS: dict[type[SGD | AdamW], type[torch.optim.Optimizer]] = {
    SGD: torch.optim.SGD,
    AdamW: torch.optim.AdamW,
}


def each_of(*bounds: float) -> st.SearchStrategy[float | Tensor]:
    """A number for all, or one for each member."""
    number = st.just(0.0) | st.floats(*bounds)
    several = st.lists(number, min_size=P, max_size=P)
    return number | several.map(lambda values: torch.tensor(values, dtype=torch.float64))


def at(value: Any, i: int) -> Any:
    if isinstance(value, tuple):
        return tuple(at(part, i) for part in value)
    return value[i].item() if isinstance(value, Tensor) else value


def parameters(seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    options: dict[str, Any] = {"generator": generator, "dtype": torch.float64}
    return [nn.Parameter(torch.randn(P, *shape, **options)) for shape in SHAPES]


def members(stacked: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    return [[nn.Parameter(p.detach()[i].clone()) for p in stacked] for i in range(P)]


def give_gradients(stacked: list[nn.Parameter], alone: list[list[nn.Parameter]], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for index, parameter in enumerate(stacked):
        grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.grad = grad
        for i, own in enumerate(alone):
            own[index].grad = grad[i].clone()


def check_equal(stacked: list[nn.Parameter], alone: list[list[nn.Parameter]]) -> None:
    for i, own in enumerate(alone):
        for parameter, expected in zip(stacked, own, strict=True):
            torch.testing.assert_close(parameter[i], expected, rtol=1e-12, atol=1e-12)


def check_steps(cls: type[SGD | AdamW], n_steps: int = 100, **hyperparameters: Any) -> None:
    """Check that members that start with different steps go on as torch's optimizers do."""
    stacked = parameters()
    alone = members(stacked)
    optimizer = cls(stacked, **hyperparameters)
    torchs = [
        TORCHS[cls](own, **{key: at(value, i) for key, value in hyperparameters.items()})
        for i, own in enumerate(alone)
    ]
    give_gradients(stacked, alone, seed=1000)
    for own_optimizer in torchs[1:]:  # member 0 is a founder, the others go on from a parent
        own_optimizer.step()
    torchs[-1].step()
    for i in range(1, P):
        optimizer.load_member_state_dict(i, torchs[i].state_dict())
        for parameter, expected in zip(stacked, alone[i], strict=True):
            parameter.data[i] = expected.data

    for seed in range(n_steps):
        give_gradients(stacked, alone, seed)
        optimizer.step()
        for own_optimizer in torchs:
            own_optimizer.step()
    check_equal(stacked, alone)


@given(
    lr=each_of(1e-4, 1),
    momentum=each_of(0.1, 0.99),
    dampening=each_of(0.1, 0.9),
    weight_decay=each_of(1e-4, 0.1),
)
@settings(max_examples=8)
def test_sgd_steps_as_torchs_does_for_100_steps(**hyperparameters: Any) -> None:
    check_steps(SGD, **hyperparameters)


@given(lr=each_of(1e-4, 1), momentum=st.floats(0.1, 0.99), weight_decay=each_of(1e-4, 0.1))
@settings(max_examples=5)
def test_nesterovs_momentum_steps_as_torchs_does(**hyperparameters: Any) -> None:
    check_steps(SGD, **hyperparameters, nesterov=True)


@given(
    lr=each_of(1e-4, 1),
    betas=st.tuples(each_of(0.1, 0.99), each_of(0.1, 0.9999)),
    eps=st.floats(1e-8, 0.1),
    weight_decay=each_of(1e-4, 0.1),
)
@settings(max_examples=8)
def test_adamw_steps_as_torchs_does_for_100_steps(**hyperparameters: Any) -> None:
    check_steps(AdamW, **hyperparameters)


def test_nothing_is_dampened_at_a_first_step_nor_without_momentum() -> None:
    stacked = parameters()
    alone = members(stacked)
    give_gradients(stacked, alone, seed=1000)
    parent = torch.optim.SGD(alone[1], lr=0.1, momentum=0.9)
    parent.step()  # it leaves momentum to a child that has none
    for parameter, expected in zip(stacked, alone[1], strict=True):
        parameter.data[1] = expected.data
    momenta = [0.9, 0.0, 0.5]
    optimizer = SGD(
        stacked, lr=0.1, momentum=torch.tensor(momenta, dtype=torch.float64), dampening=0.5
    )
    optimizer.load_member_state_dict(1, parent.state_dict())
    torchs = [
        torch.optim.SGD(own, lr=0.1, momentum=momentum, dampening=0.5)
        for own, momentum in zip(alone, momenta, strict=True)
    ]
    restore_optimizer(torchs[1], parent.state_dict())
    for seed in range(3):
        give_gradients(stacked, alone, seed)
        optimizer.step()
        for own_optimizer in torchs:
            own_optimizer.step()
    check_equal(stacked, alone)


def test_members_at_different_steps_go_on_from_their_own() -> None:
    check_steps(AdamW, n_steps=3, lr=RATES)


def test_a_rate_may_change_during_training() -> None:
    stacked = parameters()
    alone = members(stacked)
    optimizer = SGD(stacked, lr=RATES, momentum=0.9)
    torchs = [torch.optim.SGD(own, lr=at(RATES, i), momentum=0.9) for i, own in enumerate(alone)]
    for epoch in range(3):
        factor = 0.5**epoch
        optimizer.param_groups[0]["lr"] = RATES * factor
        for i, own_optimizer in enumerate(torchs):
            own_optimizer.param_groups[0]["lr"] = at(RATES, i) * factor
        give_gradients(stacked, alone, epoch)
        optimizer.step()
        for own_optimizer in torchs:
            own_optimizer.step()
    check_equal(stacked, alone)


@pytest.mark.parametrize("cls", [SGD, AdamW])
def test_groups_have_hyperparameters_of_their_own(cls: type[SGD | AdamW]) -> None:
    stacked = parameters()
    alone = members(stacked)

    def groups(own: list[nn.Parameter], i: int | None = None) -> list[dict[str, Any]]:
        lr = RATES if i is None else at(RATES, i)
        return [
            {"params": own[:2], "weight_decay": 0.0, "name": "no decay"},
            {"params": own[2:], "lr": lr, "name": "decay"},
        ]

    optimizer = cls(groups(stacked), lr=0.05, weight_decay=0.1)
    torchs = [
        TORCHS[cls](groups(own, i), lr=0.05, weight_decay=0.1)  # type: ignore[call-arg]
        for i, own in enumerate(alone)
    ]
    for seed in range(3):
        give_gradients(stacked, alone, seed)
        optimizer.step()
        for own_optimizer in torchs:
            own_optimizer.step()
    check_equal(stacked, alone)
    assert optimizer.member_state_dict(1)["param_groups"] == torchs[1].state_dict()["param_groups"]


@pytest.mark.parametrize(
    ("cls", "hyperparameters"),
    [(SGD, {"momentum": 0.9}), (SGD, {}), (AdamW, {"betas": (0.8, 0.99)})],
)
def test_a_members_state_is_that_of_torchs_optimizer(
    cls: type[SGD | AdamW], hyperparameters: dict[str, Any]
) -> None:
    stacked = parameters()
    alone = members(stacked)
    optimizer = cls(stacked, lr=RATES, **hyperparameters)
    own_optimizer = TORCHS[cls](alone[1], lr=0.2, **hyperparameters)  # type: ignore[call-arg]
    for seed in range(3):
        give_gradients(stacked, alone, seed)
        optimizer.step()
        own_optimizer.step()

    state, expected = optimizer.member_state_dict(1), own_optimizer.state_dict()

    assert state["param_groups"] == expected["param_groups"]
    assert repr(shapes(state)) == repr(shapes(expected))
    own_optimizer.load_state_dict(state)
    restore_optimizer(own_optimizer, state)
    other = cls(parameters(), lr=0.5, **hyperparameters)
    other.load_member_state_dict(2, expected)
    again = other.member_state_dict(2)
    assert again["param_groups"][0]["lr"] == 0.5
    torch.testing.assert_close(again["state"], state["state"], rtol=1e-12, atol=1e-12)
    assert other.member_state_dict(0)["state"] == {}


def shapes(state: dict[str, Any]) -> Any:
    return {
        key: {name: (value.shape, value.dtype) for name, value in buffers.items()}
        for key, buffers in state["state"].items()
        if any(value is not None for value in buffers.values())
    }


def test_a_state_of_another_class_or_other_parameters_is_refused() -> None:
    optimizer = SGD(parameters(), lr=0.1, momentum=0.9)
    adamw = torch.optim.AdamW(members(parameters())[0])
    with pytest.raises(ValueError, match="`state` must be of SGD, as the optimizer is"):
        optimizer.load_member_state_dict(0, adamw.state_dict())
    fewer = torch.optim.SGD(members(parameters())[0][:2], momentum=0.9)
    with pytest.raises(ValueError, match="must have 3 parameters but has 2"):
        optimizer.load_member_state_dict(0, fewer.state_dict())
    with pytest.raises(TypeError, match=r"must be an optimizer's `state_dict\(\)` but lacks"):
        optimizer.load_member_state_dict(0, {"state": {}})
    with pytest.raises(ValueError, match="`i` must be at most 2 but got 3"):
        optimizer.member_state_dict(3)


def test_a_moment_of_another_shape_is_refused_before_any_is_loaded() -> None:
    optimizer = SGD(parameters(), lr=0.1, momentum=0.9)
    alone = members(parameters())[0]
    torchs = torch.optim.SGD(alone, lr=0.1, momentum=0.9)
    for parameter in alone:
        parameter.grad = torch.ones_like(parameter)
    torchs.step()
    state = copy.deepcopy(torchs.state_dict())
    state["state"][2]["momentum_buffer"] = torch.zeros(5)
    with pytest.raises(ValueError, match=r"must fit its parameter 2, of shape \(2, 3\)"):
        optimizer.load_member_state_dict(0, state)
    assert optimizer.member_state_dict(0)["state"] == {}


@pytest.mark.parametrize(
    ("hyperparameters", "message"),
    [
        ({"lr": -0.1}, "`lr` must be at least 0 but got -0.1"),
        ({"lr": torch.tensor([0.1, -0.1, 0.1])}, "`lr` must be at least 0 but got -0.1"),
        ({"lr": torch.tensor([0.1, 0.1])}, r"`lr` must be a number or of shape \(3,\)"),
        ({"lr": torch.tensor([0.1, float("nan"), 0.1])}, "`lr` must be finite but got nan"),
        ({"weight_decay": torch.ones(3, 1)}, "`weight_decay` must be a number or of shape"),
    ],
)
@pytest.mark.parametrize("cls", [SGD, AdamW])
def test_a_wrong_hyperparameter_is_named(
    cls: type[SGD | AdamW], hyperparameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        cls(parameters(), **hyperparameters)


def test_wrong_betas_and_parameters_are_named() -> None:
    with pytest.raises(ValueError, match="`betas` must be less than 1 but got 1"):
        AdamW(parameters(), betas=(0.9, 1.0))
    with pytest.raises(TypeError, match=r"`betas` must be a tuple of two but got 0.9"):
        AdamW(parameters(), betas=0.9)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"`lr` must be a number but got '0.1'"):
        SGD(parameters(), lr="0.1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="all with one number of members in front"):
        SGD([*parameters(), nn.Parameter(torch.zeros(4, 2))])


@pytest.mark.parametrize("cls", [SGD, AdamW])
def test_a_gradient_scaler_is_refused_before_a_step(cls: type[SGD | AdamW]) -> None:
    stacked = parameters()
    optimizer = cls(stacked, lr=0.1)
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(sum(p.sum() for p in stacked)).backward()  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="one member's overflow would skip the step of all"):
        scaler.step(optimizer)
    check_equal(stacked, members(parameters()))


def test_a_scheduler_that_has_set_one_rate_for_all_is_refused_at_the_next_step() -> None:
    stacked = parameters()
    give_gradients(stacked, [], 0)
    before = [parameter.detach().clone() for parameter in stacked]
    for rate in (RATES.clone(), 0.1):
        optimizer = SGD(stacked, lr=rate, momentum=0.9, weight_decay=RATES)
        torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, 10)  # it fills the members' tensor
        if isinstance(rate, Tensor):
            with pytest.raises(ValueError, match=r"`lr` must be a number .* has shape \(3,\)"):
                optimizer.step()
            assert all(map(torch.equal, stacked, before))
        else:
            optimizer.step()
