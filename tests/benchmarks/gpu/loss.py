"""TaylorGLO's kernels beside cross-entropy, forward and backward."""

from __future__ import annotations

from functools import partial

import torch
from torch.nn import functional as F  # noqa: N812, PyTorch's own name for it

from epbt_optuna import TaylorGLOLoss
from tests.benchmarks.gpu.device import device, rates, those_that_run, timed
from tests.benchmarks.loss import THETA, Loss, compiled, there_and_back, transcription
from tests.benchmarks.table import Case, Figure, Table

SIZES = ((128, 10), (4096, 10), (4096, 1000), (16_384, 1000))


def bench_loss(small: bool) -> Table:
    """Time the losses, and say which share of the copy's rate they reach.

    The share counts what must be moved at the least: logits read, their gradient written.
    """
    losses: dict[str, Loss] = {
        "cross_entropy": F.cross_entropy,
        "TaylorGLOLoss": TaylorGLOLoss(THETA).to(device()),
        "equation (1) transcribed": transcription,
    }
    cases, shares = [], []
    for n_samples, n_classes in SIZES[:1] if small else SIZES:
        logits = torch.randn(n_samples, n_classes, device=device(), requires_grad=True)
        labels = torch.randint(n_classes, (n_samples,), device=device())
        all_losses = dict(losses)
        for name, loss_fn in losses.items():  # for each size anew, as other sizes make it general
            all_losses[f"{name}, compiled"] = compiled(loss_fn, quick=small)
        ways = {
            name: partial(partial, there_and_back, loss_fn, logits, labels)
            for name, loss_fn in all_losses.items()
        }
        times = timed(those_that_run(ways), 3 if small else 200, n_warm=3 if small else 20)
        n_bytes = 2 * logits.numel() * logits.element_size()
        moved = 100 * n_bytes / max(rates(small).copy)
        name = f"{n_samples} × {n_classes}"
        cases.append(Case(name, "µs", {way: Figure.of(own, 1e6) for way, own in times.items()}))
        reached = {way: Figure.of(moved / spent for spent in own) for way, own in times.items()}
        shares.append(Case(f"{name}: of the copy's rate", "%", reached))
    over = dict.fromkeys(losses, "cross_entropy")
    over |= {f"{name}, compiled": "cross_entropy, compiled" for name in losses}
    return Table("A loss on the device, forward and backward", (*cases, *shares), over)


BENCHMARKS = {"gpu-loss": bench_loss}
