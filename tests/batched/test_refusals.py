"""Networks that cannot be stacked are refused before training, by the name of the module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from epbt_optuna.batched import stack


class Net(nn.Module):
    """A user's module with one layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)  # type: ignore[no-any-return]


class OwnLSTM(nn.LSTM):
    """A subclass is what its base is."""


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(3, 3)
        self.decode = nn.Linear(3, 3)
        self.decode.weight = self.encode.weight


class Loose(nn.Module):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.scales = value


class WithExtraState(nn.Linear):
    def get_extra_state(self) -> Any:
        return {"steps": 3}


def bare_instance_norm() -> nn.Module:
    options: dict[str, Any] = {"momentum": None, "track_running_stats": True}
    return nn.InstanceNorm1d(3, **options)


def hooked() -> nn.Module:
    layer = nn.Linear(3, 3)
    layer.register_forward_hook(lambda *_: None)
    return layer


def weight_normed() -> nn.Module:
    with pytest.warns(FutureWarning):
        return nn.utils.weight_norm(nn.Linear(3, 3))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.BatchNorm1d(3, momentum=None), r"`layer` \(BatchNorm1d\) has `momentum=None`"),
        (bare_instance_norm, "has `momentum=None`"),
        (lambda: nn.LSTM(3, 3), r"`layer` \(LSTM\) is of a class that nobody has tried"),
        (lambda: OwnLSTM(3, 3), r"`layer` \(OwnLSTM\) is of a class that nobody has tried"),
        (lambda: nn.GRU(3, 3), r"`layer` \(GRU\) is of a class that nobody has tried"),
        (lambda: nn.RNN(3, 3), r"`layer` \(RNN\) is of a class that nobody has tried"),
        (
            lambda: nn.SyncBatchNorm(3),
            r"`layer` \(SyncBatchNorm\) is of a class that nobody has tried",
        ),
        (lambda: nn.LazyLinear(3), r"`layer` \(LazyLinear\) has no shapes yet"),
        (lambda: parametrizations.weight_norm(nn.Linear(3, 3)), "computes its weights from others"),
        (
            lambda: parametrizations.spectral_norm(nn.Linear(3, 3)),
            "computes its weights from others",
        ),
        (weight_normed, r"`layer` \(Linear\) has hooks \(forward_pre_hooks\), as weight and"),
        (lambda: nn.utils.spectral_norm(nn.Linear(3, 3)), "has hooks"),
        (hooked, r"has hooks \(forward_hooks"),
        (lambda: nn.Embedding(3, 3, max_norm=1.0), "has `max_norm`"),
        (lambda: nn.Embedding(3, 3, sparse=True), "has sparse gradients"),
        (Tied, "`layer.encode.weight` and `layer.decode.weight` are one tensor"),
        (lambda: Loose(torch.ones(3)), "holds tensors or modules in `scales`"),
        (lambda: Loose([nn.Linear(3, 3)]), "holds tensors or modules in `scales`"),
        (lambda: WithExtraState(3, 3), "has an extra state"),
        (nn.ReLU, "must make networks that have parameters but got none"),
    ],
)
def test_a_module_that_cannot_be_stacked_is_named(
    build: Callable[[], nn.Module], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        stack(lambda: Net(build()), 2)


def each_time(*networks: nn.Module) -> Callable[[], nn.Module]:
    made: Iterator[nn.Module] = iter(networks)
    return lambda: next(made)


@pytest.mark.parametrize(
    ("first", "other", "message"),
    [
        (
            lambda: nn.Linear(3, 4),
            lambda: nn.Linear(3, 5),
            r"`out_features` of `layer` \(Linear\) is 4 in network 0 and 5 in network 1",
        ),
        (
            lambda: Loose(nn.Parameter(torch.zeros(3))),
            lambda: Loose(nn.Parameter(torch.zeros(4))),
            r"`layer.scales` has shape \(3,\), torch.float32, cpu in network 0 and shape \(4,\)",
        ),
        (lambda: nn.Dropout(0.1), lambda: nn.Dropout(0.2), "may differ in `batched.Dropout`"),
        (nn.ReLU, nn.Tanh, r"`layer` \(ReLU\) is a Tanh in network 1"),
        (lambda: nn.Sequential(nn.ReLU()), nn.Sequential, "`layer.0` is in network 0 and not in"),
        (
            lambda: nn.ReLU().eval(),
            nn.ReLU,
            r"`training` of `layer` \(ReLU\) is False in network 0",
        ),
        (
            lambda: nn.Linear(3, 3).requires_grad_(False),
            lambda: nn.Linear(3, 3),
            "`layer.bias` has shape .* without gradient in network 0",
        ),
    ],
)
def test_networks_that_differ_in_more_than_numbers_are_refused(
    first: Callable[[], nn.Module], other: Callable[[], nn.Module], message: str
) -> None:
    networks = [Net(make()) for make in (first, other)]
    for network in networks:
        network.scale = nn.Parameter(torch.zeros(1))
    with pytest.raises(ValueError, match=message):
        stack(each_time(*networks), 2)


def test_a_builder_must_make_new_networks() -> None:
    network = nn.Linear(3, 3)
    with pytest.raises(ValueError, match="must make a new network at each call"):
        stack(lambda: network, 2)
    with pytest.raises(TypeError, match="must return a module but got int"):
        stack(lambda: 3, 2)  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match="must be a function that makes a network but got Linear"):
        stack(network, 2)
    with pytest.raises(ValueError, match="`n` must be at least 1 but got 0"):
        stack(lambda: nn.Linear(3, 3), 0)
