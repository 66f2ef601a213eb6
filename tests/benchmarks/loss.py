"""What TaylorGLO costs: forward and backward beside cross-entropy and equation (1) by autograd."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812, PyTorch's own name for it

from epbt_optuna import TaylorGLOLoss
from examples.label_noise import mlp
from examples.paper.models import make_network
from tests.benchmarks.measure import figures, interleaved
from tests.benchmarks.table import Case, Table

THETA = (0.4, -0.3, 1.2, 2.0, -3.0, 4.0, -1.5, 0.7)
"""Any θ that can learn: the cost does not depend on it."""

Loss = Callable[[Tensor, Tensor], Tensor]

SIZES = {(128, 10): 2_000, (4096, 10): 400, (128, 1000): 400, (4096, 1000): 60}
"""How often to time each (samples, classes)."""


def transcription(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute equation (1) as it stands in the paper; autograd does the rest."""
    y = logits.softmax(1)
    x = F.one_hot(labels, logits.shape[1]).to(y.dtype)
    t0, t1, t2, t3, t4, t5, t6, t7 = THETA
    u, w = y - t1, x - t0
    bracket = (
        t2 * u + t3 * u**2 / 2 + t4 * u**3 / 6 + t5 * w * u + t6 * w * u**2 / 2 + t7 * w**2 * u / 2
    )
    return -bracket.mean()


def there_and_back(loss_fn: Loss, logits: Tensor, labels: Tensor) -> None:
    logits.grad = None
    loss_fn(logits, labels).backward()


def compiled(loss_fn: Loss, quick: bool) -> Loss:
    """Compile a loss; at the smallest size only trace it, as compiling takes half a minute."""
    torch.compiler.reset()
    function: Loss = torch.compile(loss_fn, backend="eager" if quick else "inductor")
    return function


def bench_loss(quick: bool) -> Table:
    """Time forward and backward for labels that are class indices."""
    losses: dict[str, Loss] = {
        "cross_entropy": F.cross_entropy,
        "TaylorGLOLoss": TaylorGLOLoss(THETA),
        "equation (1) transcribed": transcription,
    }
    cases = []
    for (n_samples, n_classes), n in SIZES.items():
        if quick and n_samples * n_classes > 1280:
            continue
        logits = torch.randn(n_samples, n_classes, requires_grad=True)
        labels = torch.randint(n_classes, (n_samples,))
        ways = dict(losses)
        for name, loss_fn in losses.items():
            ways[f"{name}, compiled"] = compiled(loss_fn, quick)
        calls = {
            name: partial(there_and_back, loss_fn, logits, labels) for name, loss_fn in ways.items()
        }
        times = interleaved(calls, 2 if quick else n, n_warm=1 if quick else 10)
        cases.append(Case(f"{n_samples} × {n_classes}", "µs", figures(times, 1e6)))
    over = dict.fromkeys(losses, "cross_entropy")
    over |= {f"{name}, compiled": "cross_entropy, compiled" for name in losses}
    return Table("A loss, forward and backward, by samples × classes", tuple(cases), over)


def step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_fn: Loss,
    batch: tuple[Tensor, Tensor],
) -> None:
    images, labels = batch
    optimizer.zero_grad()
    loss_fn(network(images), labels).backward()
    optimizer.step()


def bench_training_step(quick: bool) -> Table:
    """Time steps of training, and the loss of such a step alone: its share."""
    networks: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
        "digits MLP": (mlp(64, 128, 64), (64,)),
        "small CNN": (make_network("cnn", (1, 28, 28), 10), (1, 28, 28)),
    }
    losses: dict[str, Any] = {
        "cross_entropy": F.cross_entropy,
        "TaylorGLOLoss": TaylorGLOLoss(THETA),
    }
    batch_size = 8 if quick else 128
    cases = []
    for name, (network, shape) in networks.items():
        images, labels = torch.randn(batch_size, *shape), torch.randint(10, (batch_size,))
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)
        logits = network(images).detach().requires_grad_()
        calls: dict[str, Callable[[], object]] = {}
        for loss, loss_fn in losses.items():
            calls[f"step with {loss}"] = partial(
                step, network, optimizer, loss_fn, (images, labels)
            )
        for loss, loss_fn in losses.items():
            calls[f"{loss} alone"] = partial(there_and_back, loss_fn, logits, labels)
        times = interleaved(calls, 2 if quick else 300, n_warm=1 if quick else 10)
        cases.append(Case(f"{name}, batch {batch_size}", "µs", figures(times, 1e6)))
    over = {f"step with {loss}": "step with cross_entropy" for loss in losses}
    over |= {f"{loss} alone": f"step with {loss}" for loss in losses}
    return Table("A step of training, and the loss's share of it", tuple(cases), over)


BENCHMARKS = {
    "loss": bench_loss,
    "training-step": bench_training_step,
}
