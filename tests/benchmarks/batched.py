"""Several networks as one beside a loop over them: samples a second, all networks together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from epbt_optuna import TaylorGLOLoss, batched
from examples.label_noise import mlp
from examples.paper.models import make_network
from tests.benchmarks.loss import THETA, step
from tests.benchmarks.measure import figures, interleaved
from tests.benchmarks.table import Case, Table

N_MEMBERS = 20
N_CLASSES = 10
CORES = {1: "one core", 2: "two cores"}

Network = tuple[Callable[[], nn.Module], tuple[int, ...]]
"""How to build it, and the shape of an image."""

NETWORKS: dict[str, tuple[Network, int]] = {
    "64-128-64-10, BatchNorm, batch 32": ((partial(mlp, 64, 128, 64), (64,)), 32),
    "64-128-64-10, BatchNorm, batch 128": ((partial(mlp, 64, 128, 64), (64,)), 128),
    "64-32-10, batch 128": (
        (lambda: nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)), (64,)),
        128,
    ),
    "784-256-10, batch 128": (
        (lambda: nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10)), (784,)),
        128,
    ),
    "small CNN, batch 128": ((partial(make_network, "cnn", (1, 28, 28), 10), (1, 28, 28)), 128),
}


def bench_batched(quick: bool) -> Table:
    """Time steps of all members, on one core and on two."""
    n_members, most, n = (2, 8, 2) if quick else (N_MEMBERS, 128, 100)
    before = torch.get_num_threads()
    cases = []
    for n_threads in list(CORES)[: 1 if quick else 2]:
        torch.set_num_threads(n_threads)
        for name, ((build, shape), batch_size) in NETWORKS.items():
            batch_size = min(batch_size, most)
            batch = (torch.randn(batch_size, *shape), torch.randint(N_CLASSES, (batch_size,)))
            ways = {
                "loop": loop(build, n_members, batch),
                "batched": as_one(build, n_members, batch),
            }
            times = interleaved(ways, max(2, n // 5) if "CNN" in name else n, n_warm=3)
            n_samples = n_members * batch_size
            speeds = {way: [n_samples / spent for spent in own] for way, own in times.items()}
            found = batched.suggest_mode(build, batch[0], n_members)
            verdict = f"{found.mode}, {found.speedup:.2f}"
            cases.append(Case(f"{name}, {CORES[n_threads]}", "samples/s", figures(speeds), verdict))
    torch.set_num_threads(before)
    return Table(
        f"A step of {n_members} networks with TaylorGLO and SGD",
        tuple(cases),
        over={"loop": "loop", "batched": "loop"},
    )


def loop(
    build: Callable[[], nn.Module], n_members: int, batch: tuple[torch.Tensor, torch.Tensor]
) -> Callable[[], None]:
    """Return a step of each network, one after the other."""
    networks = [build() for _ in range(n_members)]
    optimizers = [torch.optim.SGD(n.parameters(), lr=1e-4, momentum=0.9) for n in networks]
    loss_fn = TaylorGLOLoss(THETA)

    def step_each() -> None:
        for network, optimizer in zip(networks, optimizers, strict=True):
            step(network, optimizer, loss_fn, batch)

    return step_each


def as_one(
    build: Callable[[], nn.Module], n_members: int, batch: tuple[torch.Tensor, torch.Tensor]
) -> Callable[[], None]:
    """Return a step of all networks as one."""
    stack = batched.stack(build, n_members)
    lr = torch.full((n_members,), 1e-4)
    optimizer = batched.SGD(stack.parameters(), lr=lr, momentum=0.9)
    loss_fn = TaylorGLOLoss(torch.tensor(THETA).expand(n_members, 8))

    def step_all() -> None:
        optimizer.zero_grad()
        loss_fn(stack(batch[0]), batch[1]).sum().backward()
        optimizer.step()

    return step_all


BENCHMARKS = {"batched": bench_batched}
