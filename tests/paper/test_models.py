"""The networks are the papers', by count, shape and first weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from examples.paper.models import MODELS, ResidualBlock, Shape, make_network, n_weights


@pytest.mark.parametrize(
    ("model", "count"),
    [
        ("resnet32", 464_154),  # He et al. (2016) say 0.46 M
        ("wrn-16-8", 10_961_370),  # Zagoruyko & Komodakis (2016) say 11.0 M
    ],
)
def test_the_papers_networks_have_as_many_weights_as_the_papers_say(model: str, count: int) -> None:
    assert n_weights(make_network(model, (3, 32, 32), 10)) == count


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (1, 8, 8)], ids=str)
def test_every_network_takes_every_shape_and_passes_gradients_to_all_weights(
    model: str, shape: Shape
) -> None:
    if model == "wrn-16-8" and shape != (1, 8, 8):
        shape = (shape[0], 16, 16)  # the same layers, a quarter of the time
    network = make_network(model, shape, 7)
    outputs = network(torch.randn(2, *shape))
    assert outputs.shape == (2, 7)
    outputs.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_weights_start_with_the_variance_of_he_and_biases_at_zero() -> None:
    torch.manual_seed(0)
    network = make_network("resnet32", (3, 32, 32), 10)
    checked = 0
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 2_000:
            fan_in = module.weight[0].numel()
            assert float(module.weight.detach().std()) == pytest.approx(
                math.sqrt(2 / fan_in), rel=0.06
            )
            checked += 1
        if isinstance(module, nn.Linear):
            assert not module.bias.detach().any()
    assert checked == 30


def test_a_residual_block_that_computes_nothing_is_its_shortcut() -> None:
    network = make_network("resnet32", (3, 32, 32), 10)
    blocks = [module for module in network.modules() if isinstance(module, ResidualBlock)]
    block = next(block for block in blocks if block.n_new_channels)
    nn.init.zeros_(block.norm2.weight)
    inputs = torch.rand(1, 16, 8, 8)
    outputs = block(inputs)
    assert torch.equal(outputs[:, :16], inputs[:, :, ::2, ::2])
    assert not outputs[:, 16:].any()
