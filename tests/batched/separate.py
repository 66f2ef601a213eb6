"""Members that are separate networks with torch's own optimizers: what a stack is compared with.

Studies and data for the tests of batches, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
import torch
from optuna.study import StudyDirection
from torch import Tensor, nn

from epbt_optuna import EPBTSampler
from tests.replay import Rules, lineage_of

__all__ = ["RULES", "Networks", "Optimizers", "build", "history_of", "make_study"]

RULES = Rules(population_size=6, n_elites=3, direction=StudyDirection.MAXIMIZE)


def make_study(**options: Any) -> optuna.Study:
    """Create a study with a small population."""
    options.setdefault("sampler", EPBTSampler(RULES.population_size, n_elites=3, seed=0))
    return optuna.create_study(direction="maximize", **options)


def history_of(study: optuna.Study) -> list[tuple[object, ...]]:
    """Return all that a seed decides."""
    return [(t.number, t.state, t.params, t.values, lineage_of(t)) for t in study.trials]


def build() -> nn.Module:
    """Make a network, the same at each call."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


class Networks:
    """What `stack` makes, as separate networks."""

    def __init__(self, build: Callable[[], nn.Module], n: int) -> None:
        self.networks = [build() for _ in range(n)]

    def __call__(self, x: Tensor) -> Tensor:
        return torch.stack([network(x) for network in self.networks])

    def member_state_dict(self, i: int) -> dict[str, Any]:
        return self.networks[i].state_dict()

    def load_member_state_dict(self, i: int, state: Mapping[str, Any]) -> None:
        self.networks[i].load_state_dict(state)


class Optimizers:
    """Torch's SGD for each of them, with its own rate."""

    def __init__(self, networks: Networks, lr: Sequence[float]) -> None:
        self.optimizers = [
            torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9)
            for network, rate in zip(networks.networks, lr, strict=True)
        ]

    def step(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()

    def member_state_dict(self, i: int) -> dict[str, Any]:
        return self.optimizers[i].state_dict()

    def load_member_state_dict(self, i: int, state: dict[str, Any]) -> None:
        self.optimizers[i].load_state_dict(state)
