"""An inherited optimizer: the parent's moments, this trial's hyperparameters."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable
from inspect import signature
from typing import Any

import pytest
import torch
from torch import optim
from torch.nn import Parameter

from epbt_optuna import restore_optimizer

OPTIMIZERS = [
    cls
    for cls in vars(optim).values()
    if isinstance(cls, type) and issubclass(cls, optim.Optimizer) and cls is not optim.Optimizer
]


def make(lr: float | torch.Tensor = 0.1, **settings: Any) -> optim.SGD:
    groups = [{"params": [Parameter(torch.ones(2))]} for _ in range(2)]
    return optim.SGD(groups, lr=lr, **{"momentum": 0.9, **settings})


def stepped(optimizer: optim.Optimizer, n_steps: int = 1) -> Any:
    for step in range(n_steps):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                gradient = torch.full_like(parameter, 0.5 + step)
                is_sparse = isinstance(optimizer, optim.SparseAdam)
                parameter.grad = gradient.to_sparse() if is_sparse else gradient
        optimizer.step(lambda: torch.zeros(()))  # type: ignore[arg-type,return-value]
    return optimizer


def of_groups(optimizer: optim.Optimizer, name: str) -> list[Any]:
    return [group[name] for group in optimizer.param_groups]


@pytest.mark.parametrize("named", [{}, {"lr": 0.3}])
def test_momentum_is_the_parents_and_the_learning_rate_the_trials(named: dict[str, Any]) -> None:
    child = make(lr=0.3)
    restore_optimizer(child, stepped(make(lr=0.1)).state_dict(), **named)
    assert of_groups(child, "lr") == [0.3, 0.3]
    assert of_groups(child, "momentum") == [0.9, 0.9]
    for state in child.state.values():
        assert torch.equal(state["momentum_buffer"], torch.full((2,), 0.5))


@pytest.mark.parametrize("cls", OPTIMIZERS, ids=lambda cls: cls.__name__)
def test_every_optimizer_takes_its_parents_moments_and_keeps_every_hyperparameter_and_flag(
    cls: Callable[..., optim.Optimizer],
) -> None:
    def build(scale: float, **flags: bool) -> optim.Optimizer:
        optimizer = cls([Parameter(torch.ones(2, 3))], lr=0.1 * scale, **flags)
        for name, value in optimizer.param_groups[0].items():
            if isinstance(value, float):
                optimizer.param_groups[0][name] = value * scale
        return optimizer

    flags = {"maximize": True} if "maximize" in signature(cls).parameters else {}
    parent, child = stepped(build(1.0), 2), build(0.5, **flags)
    settings = {k: v for k, v in child.param_groups[0].items() if k != "params"}
    restore_optimizer(child, parent.state_dict())
    actual, expected = child.state_dict(), parent.state_dict()
    assert {k: v for k, v in child.param_groups[0].items() if k != "params"} == settings
    assert actual["state"].keys() == expected["state"].keys()
    for key, buffers in expected["state"].items():
        torch.testing.assert_close(actual["state"][key], buffers)
    stepped(child)


@pytest.mark.parametrize("cls", OPTIMIZERS, ids=lambda cls: cls.__name__)
def test_training_leaves_the_state_as_it_was_for_whoever_begins_from_it_next(
    cls: Callable[..., optim.Optimizer],
) -> None:
    state = stepped(cls([Parameter(torch.ones(2, 3))], lr=0.1), 2).state_dict()
    before = copy.deepcopy(state)
    child = cls([Parameter(torch.ones(2, 3))], lr=0.1)
    restore_optimizer(child, state)
    stepped(child, 2)
    torch.testing.assert_close(state["state"], before["state"], rtol=0, atol=0)


def test_a_child_with_its_parents_values_trains_on_as_the_parent_would() -> None:
    def build() -> optim.AdamW:
        groups = [{"params": [Parameter(torch.ones(2))], "lr": lr} for lr in (0.1, 0.01)]
        return optim.AdamW(groups, weight_decay=0.3)

    parent, child = stepped(build(), 3), build()
    restore_optimizer(child, copy.deepcopy(parent.state_dict()))
    for mine, theirs in zip(child.param_groups, parent.param_groups, strict=True):
        mine["params"][0].data.copy_(theirs["params"][0])
    stepped(parent, 2)
    stepped(child, 2)
    for mine, theirs in zip(child.param_groups, parent.param_groups, strict=True):
        assert torch.equal(mine["params"][0], theirs["params"][0])


# Groups


def decaying(*decays: float, lr: float = 0.1) -> optim.AdamW:
    names = ("head", "backbone", "bias")
    return optim.AdamW(
        [
            {"params": [Parameter(torch.ones(2))], "weight_decay": decay, "name": name}
            for decay, name in zip(decays, names, strict=False)
        ],
        lr=lr,
    )


@pytest.mark.parametrize("named", [{}, {"weight_decay": 0.3}])
def test_a_group_that_was_built_without_decay_does_not_decay(named: dict[str, Any]) -> None:
    child = decaying(0.3, 0.0)
    restore_optimizer(child, stepped(decaying(0.1, 0.0)).state_dict(), **named)
    assert of_groups(child, "weight_decay") == [0.3, 0.0]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, [0.5, 0.5, 0.5]),
        ([0.5, 0.6, 0.7], [0.5, 0.6, 0.7]),
        ((0.5, 0.6, 0.7), [0.5, 0.6, 0.7]),
        ({"backbone": 0.6}, [0.1, 0.6, 0.1]),
        ({"bias": 0.7, "head": 0.5}, [0.5, 0.1, 0.7]),
    ],
)
def test_a_named_value_is_for_all_groups_or_for_each_or_for_those_of_a_name(
    value: Any, expected: list[float]
) -> None:
    child = decaying(0.1, 0.1, 0.1)
    restore_optimizer(child, decaying(0.2, 0.2, 0.2).state_dict(), weight_decay=value)
    assert of_groups(child, "weight_decay") == expected


A, B, C = (0.9, 0.99), (0.8, 0.98), (0.7, 0.97)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (B, [B, B]),
        (list(B), [B, B]),
        ([B, C], [B, C]),
        ((B, C), [B, C]),
        ([list(B), list(C)], [B, C]),
        ({"head": C}, [C, A]),
    ],
)
def test_betas_are_one_value_unless_each_group_is_given_a_pair(
    value: Any, expected: list[tuple[float, float]]
) -> None:
    child = decaying(0.1, 0.1)
    for group in child.param_groups:
        group["betas"] = A
    restore_optimizer(child, decaying(0.1, 0.1).state_dict(), betas=value)
    assert of_groups(child, "betas") == expected


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"weight_decay": 0.2}, r"`weight_decay` must be given for each group, as a list or by"),
        ({"weight_decay": 0.0}, r"built with different values, \[0.3, 0.0\], but got 0.0"),
        ({"lr": [0.1]}, r"`lr` must be one value, or one for each of the 2 groups, but got 1"),
        ({"lr": {"tail": 0.1}}, r"`lr` must .* one of \['head', 'backbone'\] but got \['tail'\]"),
        ({"betas": 0.9}, r"`betas` must hold 2 values, as \(0.9, 0.999\), but got 0.9"),
        ({"betas": (0.9, 0.9, 0.9)}, "`betas` must hold 2 values"),
        ({"betas": [(0.9, 0.9)]}, "`betas` must be one value, or one for each of the 2 groups"),
        ({"learning_rate": 0.1}, "`learning_rate` must be a hyperparameter of AdamW: amsgrad, "),
        ({"params": []}, "`params` must be a hyperparameter of AdamW: amsgrad, "),
        ({"on_mismatch": "ignore"}, "`on_mismatch` must be 'error' or 'fresh' but got 'ignore'"),
    ],
)
def test_a_value_that_fits_no_group_is_refused_before_anything_is_restored(
    named: dict[str, Any], message: str
) -> None:
    child = decaying(0.3, 0.0)
    before = copy.deepcopy(child.state_dict())
    with pytest.raises(ValueError, match=message):
        restore_optimizer(child, stepped(decaying(0.3, 0.0)).state_dict(), **named)
    assert child.state_dict() == before


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (-0.1, ValueError, "`lr` must be at least 0 but got -0.1"),
        (math.nan, ValueError, "`lr` must be finite but got nan"),
        (torch.tensor(math.inf), ValueError, "`lr` must be finite"),
        ([0.1, None], TypeError, "`lr` must be a number but got None"),
        ("0.1", TypeError, "`lr` must be a number but got '0.1'"),
    ],
)
def test_a_rate_that_is_none_is_refused(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        restore_optimizer(make(), stepped(make()).state_dict(), lr=value)


def test_what_is_no_optimizer_of_torchs_class_is_refused() -> None:
    with pytest.raises(TypeError, match=r"`optimizer` must be a torch.optim.Optimizer but got a L"):
        restore_optimizer(torch.nn.Linear(1, 1), make().state_dict())  # type: ignore[arg-type]


@pytest.mark.parametrize("state", [None, [], {"model": {}, "optimizer": {}}])
def test_what_is_no_optimizers_state_is_refused(state: Any) -> None:
    with pytest.raises(TypeError, match=r"`state` must be an optimizer's `state_dict\(\)` but "):
        restore_optimizer(make(), state)


# Tensors, flags, buffers


def test_a_learning_rate_held_in_a_tensor_stays_the_tensor_that_a_graph_may_hold() -> None:
    child = make(lr=torch.tensor(0.3))
    tensors = of_groups(child, "lr")
    restore_optimizer(child, make(lr=torch.tensor(0.1)).state_dict())
    assert all(a is b for a, b in zip(of_groups(child, "lr"), tensors, strict=True))
    assert of_groups(child, "lr") == [torch.tensor(0.3)] * 2


def test_a_learning_rate_that_is_named_becomes_a_tensor_for_each_group_where_it_was_one() -> None:
    child = make(lr=torch.tensor(0.3))
    restore_optimizer(child, make(lr=0.1).state_dict(), lr=[0.5, 0.6])
    assert of_groups(child, "lr") == [torch.tensor(0.5), torch.tensor(0.6)]


def test_a_parents_tensor_does_not_reach_a_child_that_has_a_number() -> None:
    child = make(lr=0.3)
    restore_optimizer(child, make(lr=torch.tensor(0.1)).state_dict())
    assert of_groups(child, "lr") == [0.3, 0.3]


def test_step_counts_move_to_the_device_where_the_new_optimizers_flags_need_them() -> None:
    parent = stepped(optim.Adam([Parameter(torch.ones(2))]))
    child = optim.Adam([Parameter(torch.ones(2, device="meta"))], capturable=True)
    restore_optimizer(child, parent.state_dict())
    (buffers,) = child.state.values()
    assert buffers["step"].device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("parents", [{}, {"fused": True}, {"capturable": True}])
@pytest.mark.parametrize("childs", [{}, {"fused": True}, {"capturable": True}])
def test_on_a_gpu_step_counts_follow_the_childs_flags_whatever_the_parents_and_map_location(
    parents: dict[str, Any], childs: dict[str, Any]
) -> None:
    parent = stepped(optim.Adam([Parameter(torch.ones(2, device="cuda"))], **parents))
    for map_location in ("cpu", "cuda"):
        child = optim.Adam([Parameter(torch.ones(2, device="cuda"))], **childs)
        file = io.BytesIO()
        torch.save(parent.state_dict(), file)
        file.seek(0)
        restore_optimizer(child, torch.load(file, map_location))
        (buffers,) = child.state.values()
        assert buffers["step"].device.type == ("cuda" if childs else "cpu")
        assert buffers["exp_avg"].device.type == "cuda"
        assert stepped(child).state_dict()["state"][0]["step"] == 2


def test_moments_take_the_dtype_of_the_childs_parameters_and_step_counts_keep_theirs() -> None:
    parent = stepped(optim.Adam([Parameter(torch.ones(2))]))
    child = optim.Adam([Parameter(torch.ones(2, dtype=torch.bfloat16))])
    restore_optimizer(child, parent.state_dict())
    (buffers,) = child.state.values()
    assert (buffers["exp_avg"].dtype, buffers["step"].dtype) == (torch.bfloat16, torch.float32)


@pytest.mark.parametrize(
    ("cls", "off", "on"),
    [
        (optim.Adam, {"amsgrad": False}, {"amsgrad": True}),
        (optim.AdamW, {"amsgrad": False}, {"amsgrad": True}),
        (optim.RMSprop, {"centered": False}, {"centered": True}),
        (optim.RMSprop, {"momentum": 0.0}, {"momentum": 0.9}),
        (optim.SGD, {"momentum": 0.0}, {"momentum": 0.9}),
    ],
)
def test_a_buffer_that_only_one_of_parent_and_child_needs_stops_no_step(
    cls: Callable[..., optim.Optimizer], off: dict[str, Any], on: dict[str, Any]
) -> None:
    for parents, childs in ((off, on), (on, off)):
        parent = stepped(cls([Parameter(torch.ones(2))], lr=0.1, **parents))
        child = cls([Parameter(torch.ones(2))], lr=0.1, **childs)
        restore_optimizer(child, parent.state_dict())
        stepped(child, 2)
        assert child.param_groups[0]["params"][0].isfinite().all()


@pytest.mark.parametrize(("parents", "childs"), [(2, 5), (5, 2), (3, 3)])
def test_lbfgs_goes_on_from_as_many_steps_as_its_own_history_holds(
    parents: int, childs: int
) -> None:
    def build(size: int) -> optim.LBFGS:
        return optim.LBFGS([Parameter(torch.arange(4.0))], lr=0.01, max_iter=8, history_size=size)

    def step(optimizer: optim.LBFGS) -> dict[str, Any]:
        (parameter,) = optimizer.param_groups[0]["params"]

        def closure() -> float:
            optimizer.zero_grad()
            loss = ((parameter - 3) ** 4).sum()
            loss.backward()
            return float(loss.detach())

        optimizer.step(closure)
        return dict(optimizer.state[parameter])

    parent, child = build(parents), build(childs)
    directions = step(parent)["old_dirs"]
    assert len(directions) == parents
    restore_optimizer(child, parent.state_dict())
    (state,) = child.state.values()
    kept = directions[-childs:]
    assert all(map(torch.equal, state["old_dirs"], kept))
    assert len(state["old_dirs"]) == len(state["old_stps"]) == len(state["ro"]) == len(kept)
    assert len(step(child)["old_dirs"]) == childs


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(
    ("parents", "childs"),
    [
        (torch.contiguous_format, torch.channels_last),
        (torch.channels_last, torch.contiguous_format),
    ],
)
def test_moments_lie_in_memory_as_the_childs_parameters_do(
    parents: torch.memory_format, childs: torch.memory_format, fused: bool
) -> None:
    values = torch.arange(2 * 3 * 4 * 4.0).reshape(2, 3, 4, 4)

    def build(layout: torch.memory_format) -> optim.AdamW:
        parameter = Parameter(values.clone(memory_format=layout))
        return optim.AdamW([parameter], lr=0.1, fused=fused)

    def step(optimizer: optim.AdamW) -> Parameter:
        (parameter,) = optimizer.param_groups[0]["params"]
        parameter.grad = torch.empty_like(parameter).copy_(values.cos())
        optimizer.step()
        return parameter  # type: ignore[no-any-return]

    parent, child = build(parents), build(childs)
    with torch.no_grad():
        step(parent).copy_(values)
    restore_optimizer(child, parent.state_dict())
    torch.testing.assert_close(step(child), step(parent))


# Schedulers that were built before


def test_a_scheduler_of_the_parents_leaves_no_trace_in_the_childs_groups() -> None:
    parent = make(lr=0.1)
    optim.lr_scheduler.OneCycleLR(parent, 0.5, 10)
    child = make(lr=0.3)
    restore_optimizer(child, parent.state_dict())
    assert child.param_groups[0].keys() == make().param_groups[0].keys()
    assert optim.lr_scheduler.StepLR(child, 1).base_lrs == [0.3, 0.3]


@pytest.mark.parametrize("named", [{}, {"lr": 0.3}])
def test_what_a_scheduler_has_set_before_stays(named: dict[str, Any]) -> None:
    child = make(lr=0.3)
    optim.lr_scheduler.LinearLR(child, 0.5)
    restore_optimizer(child, stepped(make(lr=0.1)).state_dict(), **named)
    assert of_groups(child, "lr") == [0.15, 0.15]
    assert of_groups(child, "initial_lr") == [0.3, 0.3]


def test_a_rate_or_momentum_other_than_a_scheduler_has_taken_is_refused() -> None:
    child = make(lr=0.3)
    optim.lr_scheduler.StepLR(child, 1)
    with pytest.raises(ValueError, match=r"`lr` must be set before a scheduler is built.* got 0.4"):
        restore_optimizer(child, make().state_dict(), lr=0.4)
    child = make(lr=0.3)
    optim.lr_scheduler.OneCycleLR(child, 0.5, 10)
    with pytest.raises(ValueError, match=r"`momentum` must be set before .*`max_momentum`"):
        restore_optimizer(child, make().state_dict(), momentum=0.9)
