"""Every class of module that may be stacked trains in a stack as in a loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from epbt_optuna.batched import Stack, each, stack
from epbt_optuna.batched.refusals import TRIED
from epbt_optuna.batched.stack import _TRANSFORMERS
from tests.batched.networks import ROWS, Row, Scaled

N_MEMBERS, N_STEPS = 3, 3


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def outputs(network: nn.Module, inputs: list[Any]) -> Tensor:
    output = network(*inputs)
    first: Tensor = output[0] if isinstance(output, tuple) else output
    return first


def train(network: nn.Module, batches: list[list[Any]]) -> Tensor:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for batch in batches:
        output = outputs(network, batch)
        n = len(network) if isinstance(network, Stack) else 1
        (output.square().mean() * n).backward()  # of a stack: the sum of its members' own losses
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        return outputs(network.eval(), batches[0])


def test_every_class_that_may_be_stacked_has_a_row() -> None:
    assert {row.cls for row in ROWS} == TRIED


@pytest.mark.parametrize("own_data", [False, True], ids=["shared data", "own data"])
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_stack_trains_as_a_loop_does(row: Row, own_data: bool) -> None:
    for build in (row.build, lambda: Scaled(row.build())):
        torch.manual_seed(0)
        networks = [build() for _ in range(N_MEMBERS)]
        if not [*networks[0].parameters()]:
            continue
        torch.manual_seed(0)
        model = stack(build, N_MEMBERS)
        batches = [row.inputs(*[N_MEMBERS] * own_data) for _ in range(N_STEPS)]
        wrapped = [[each(x) if own_data else x for x in batch] for batch in batches]

        together = train(model, wrapped)

        for i, network in enumerate(networks):
            own = [[x[i] if own_data else x for x in batch] for batch in batches]
            torch.testing.assert_close(together[i], train(network, own), rtol=1e-9, atol=1e-9)
            states = model.member_state_dict(i), network.state_dict()
            assert states[0].keys() == states[1].keys()
            for key, value in states[0].items():
                torch.testing.assert_close(value, states[1][key], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.usefixtures("device")
def test_autocast_computes_in_a_stack_what_it_does_in_a_network(row: Row) -> None:
    torch.set_default_dtype(torch.float32)
    networks = [Scaled(row.build()) for _ in range(N_MEMBERS)]
    model = stack(iter(networks).__next__, N_MEMBERS)
    for i, network in enumerate(own := [Scaled(row.build()) for _ in range(N_MEMBERS)]):
        network.load_state_dict(model.member_state_dict(i))
    inputs = row.inputs()
    place = inputs[0].device.type
    if place == "cuda" and any(isinstance(m, _TRANSFORMERS) for m in model.modules()):
        with torch.autocast(place), pytest.raises(ValueError, match=r"`inner.* Leave autocast out"):
            model(*inputs)
        return
    with torch.autocast(place, torch.bfloat16):
        together = outputs(model, inputs)
        alone = torch.stack([outputs(network, inputs) for network in own])
    torch.testing.assert_close(together, alone, rtol=0.05, atol=0.05, check_dtype=False)
    together.float().square().mean().backward()
    for i, network in enumerate(own):
        for key, value in network.state_dict().items():
            torch.testing.assert_close(model.member_state_dict(i)[key], value, rtol=0.05, atol=0.05)
