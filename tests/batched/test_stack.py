"""A stack is a module like any other, and each of its members a network like any other."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from epbt_optuna.batched import Stack, each, stack

P = 3


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2))


class Pictures(nn.Module):
    """What no chain of layers is: several arguments, options, and a nesting of outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.head = nn.Linear(2, 3)

    def forward(self, x: Tensor, factor: float, *, shift: Tensor | None = None) -> Any:
        features = self.norm(self.convolution(x)).mean((2, 3)) * factor
        if shift is not None:
            features = features + shift
        return {"features": features, "both": (self.head(features), features.sum())}


def picture_batch(*leading: int) -> Tensor:
    return torch.randn(*leading, 4, 1, 5, 5)


def test_the_members_are_the_networks_that_a_loop_would_build() -> None:
    torch.manual_seed(0)
    networks = [perceptron() for _ in range(P)]
    torch.manual_seed(0)
    model = stack(perceptron, P)
    assert len(model) == P
    for i, network in enumerate(networks):
        state, expected = model.member_state_dict(i), network.state_dict()
        assert list(state) == list(expected)
        torch.testing.assert_close(state, dict(expected), rtol=0, atol=0)


def test_arguments_options_and_outputs_may_be_several() -> None:
    model = stack(Pictures, P).eval()
    x, shift = picture_batch(), torch.randn(P, 4, 2)
    together = model(x, 2.0, shift=each(shift))
    for i in range(P):
        own = Pictures().eval()
        own.load_state_dict(model.member_state_dict(i))
        alone = own(x, 2.0, shift=shift[i])
        torch.testing.assert_close(together["features"][i], alone["features"])
        for several, one in zip(together["both"], alone["both"], strict=True):
            torch.testing.assert_close(several[i], one)


def test_data_is_the_members_own_only_where_it_is_marked() -> None:
    model = stack(lambda: nn.Sequential(nn.Linear(4, 2)), P)
    x = torch.randn(P, 4)  # a batch as large as the generation
    assert model(x).shape == (P, P, 2)
    assert model(each(x.expand(P, P, 4))).shape == (P, P, 2)
    for i in range(P):
        own = model.member_state_dict(i)
        torch.testing.assert_close(model(x)[i], x @ own["0.weight"].T + own["0.bias"])


@pytest.mark.parametrize("build", [perceptron, Pictures])
def test_it_trains_evaluates_copies_and_pickles_as_any_module(
    build: Callable[[], nn.Module],
) -> None:
    arguments: tuple[Any, ...] = (
        (picture_batch(), 1.0) if build is Pictures else (torch.randn(4, 4),)
    )
    model = stack(build, P)
    count = "norm.num_batches_tracked" if build is Pictures else "1.num_batches_tracked"
    model(*arguments)
    assert [model.member_state_dict(i)[count].item() for i in range(P)] == [1] * P
    model.eval()
    expected = model(*arguments)
    assert [model.member_state_dict(i)[count].item() for i in range(P)] == [1] * P
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(other(*arguments), expected, rtol=0, atol=0)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.zero_()
        torch.testing.assert_close(model(*arguments), expected, rtol=0, atol=0)
    again = stack(build, P).eval()
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again(*arguments), expected, rtol=0, atol=0)
    double = model.to(torch.float64)
    arguments = (arguments[0].double(), *arguments[1:])
    assert all(parameter.dtype == torch.float64 for parameter in double.parameters())
    torch.testing.assert_close(double(*arguments), expected, check_dtype=False)


def test_a_member_gets_anothers_state_and_the_rest_stay() -> None:
    model = stack(perceptron, P)
    model(torch.randn(8, 4))
    before = [model.member_state_dict(i) for i in range(P)]
    model.load_member_state_dict(2, before[0])
    for i, expected in enumerate([before[0], before[1], before[0]]):
        torch.testing.assert_close(model.member_state_dict(i), expected, rtol=0, atol=0)
    network = perceptron()
    network.load_state_dict(before[0])
    model.load_member_state_dict(1, network.state_dict())
    torch.testing.assert_close(model.member_state_dict(1), before[0], rtol=0, atol=0)


def test_a_members_state_is_a_copy_of_its_own_size() -> None:
    model = stack(perceptron, P)
    state = model.member_state_dict(0)
    for value in state.values():
        assert value.untyped_storage().nbytes() == value.numel() * value.element_size()
        assert not value.requires_grad
    state["0.weight"].zero_()
    assert model.member_state_dict(0)["0.weight"].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("0.bias"), r"lacks \['0.bias'\]"),
        (lambda state: state.update(other=torch.zeros(1)), r"has \['other'\]"),
        (
            lambda state: state.update({"3.bias": torch.zeros(P, 2)}),
            r"shape \(2,\) as '3.bias' but got \(3, 2\)",
        ),
        (lambda state: state.update({"3.bias": 1.0}), "as '3.bias' but got float"),
    ],
)
def test_a_state_that_does_not_fit_is_named_and_nothing_is_loaded(
    change: Callable[[dict[str, Any]], None], message: str
) -> None:
    model = stack(perceptron, P)
    before = model.member_state_dict(1)
    state: dict[str, Any] = {key: torch.zeros_like(value) for key, value in before.items()}
    change(state)
    with pytest.raises(ValueError, match=message):
        model.load_member_state_dict(1, state)
    torch.testing.assert_close(model.member_state_dict(1), before, rtol=0, atol=0)


def test_a_member_that_there_is_none_of_is_named() -> None:
    model = stack(perceptron, P)
    with pytest.raises(ValueError, match="`i` must be at most 2 but got 3"):
        model.member_state_dict(3)
    with pytest.raises(ValueError, match="`i` must be at least 0 but got -1"):
        model.load_member_state_dict(-1, {})


def test_what_is_marked_must_be_a_tensor_with_all_members() -> None:
    model = stack(perceptron, P)
    with pytest.raises(ValueError, match=r"\(3, ...\), for 3 members, but argument 0 has \(4, 4\)"):
        model(each(torch.randn(4, 4)))
    with pytest.raises(TypeError, match="must be given a tensor but `x` has a list"):
        model(x=each([1, 2, 3]))


@pytest.mark.parametrize("wrapped", [False, True], ids=["chain", "vmap"])
def test_batch_normalisation_refuses_to_train_on_one_sample(wrapped: bool) -> None:
    model = stack(lambda: nn.Sequential(nn.BatchNorm1d(4), *[nn.Softmax(1)] * wrapped), P)
    with pytest.raises(ValueError, match=r"more than (1 value per channel|one sample)"):
        model(torch.randn(1, 4))
    model.eval()
    assert model(torch.randn(1, 4)).shape == (P, 1, 4)


@pytest.mark.parametrize("build", [perceptron, Pictures])
def test_autocast_computes_what_it_does_for_one_network(build: Callable[[], nn.Module]) -> None:
    arguments: tuple[Any, ...] = (
        (picture_batch(), 1.0) if build is Pictures else (torch.randn(4, 4),)
    )
    model = stack(build, P)
    own = build()
    own.load_state_dict(model.member_state_dict(1))

    def output(network: nn.Module) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            made = network(*arguments)
        first: Tensor = made["both"][0] if isinstance(made, dict) else made
        return first

    together, alone = output(model), output(own)
    # vmap adds the bias to a product in bfloat16, and keeps its float32.
    assert together.dtype == (torch.float32 if build is Pictures else torch.bfloat16)
    torch.testing.assert_close(together[1], alone, rtol=0.05, atol=0.05, check_dtype=False)
    together.float().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_frozen_parameters_stay_frozen() -> None:
    def build() -> nn.Module:
        network = perceptron()
        next(network.parameters()).requires_grad_(False)
        return network

    model = stack(build, P)
    model(torch.randn(4, 4)).sum().backward()
    frozen, *others = model.parameters()
    assert frozen.grad is None
    assert all(parameter.grad is not None for parameter in others)


def test_one_network_is_a_stack_too() -> None:
    model = stack(perceptron, 1)
    assert model(torch.randn(4, 4)).shape == (1, 4, 2)
    assert isinstance(model, Stack)
    assert "members=1" in repr(model)
