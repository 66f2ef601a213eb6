"""Whether a generation trains faster as a batch or as a loop depends on the network: measure it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, Literal

import torch
from torch import Tensor, nn

from epbt_optuna._internal.checks import check_integer
from epbt_optuna.batched.optimizers import SGD
from epbt_optuna.batched.stack import stack

__all__ = ["SuggestedMode", "suggest_mode"]

_N_WARM_UP = 2


@dataclass(frozen=True)
class SuggestedMode:
    """What `suggest_mode` measured.

    Attributes:
        n_members: The number of members, P.
        batch_seconds: Median time of one training step of all members as a batch.
        loop_seconds: Median time of one training step of each member, one after the other.
        device: Where they were trained.
    """

    n_members: int
    batch_seconds: float
    loop_seconds: float
    device: str

    @property
    def mode(self) -> Literal["batch", "loop"]:
        """The faster one."""
        return "batch" if self.batch_seconds < self.loop_seconds else "loop"

    @property
    def speedup(self) -> float:
        """How many times as fast as the loop the batch is."""
        return self.loop_seconds / self.batch_seconds

    def __str__(self) -> str:
        return (
            f"{self.mode}: a step of {self.n_members} members takes "
            f"{1000 * self.batch_seconds:.2f} ms as a batch and {1000 * self.loop_seconds:.2f} ms "
            f"in a loop ({self.speedup:.2f} times as fast as a batch, on {self.device})"
        )


def suggest_mode(
    build: Callable[[], nn.Module], batch: Any, n_members: int, *, n_steps: int = 9
) -> SuggestedMode:
    """Time a few training steps of a batch and of a loop, and say which is faster.

    Steps are forward, backward from the mean of the squared outputs, and SGD with momentum. They
    are taken in turn, so that whatever else the machine does slows both. Random numbers go on
    afterwards as if nothing had been drawn.

    Args:
        build: Makes one network, as for `stack`.
        batch: The input of one network, on the device to train on; a tuple holds several arguments.
        n_members: The number of members, P.
        n_steps: The number of steps of each that are timed.

    Raises:
        TypeError: `batch` holds no tensor.
        ValueError: `n_members` or `n_steps` is less than 1, or `build` makes networks that cannot
            be stacked.
    """
    check_integer("n_members", n_members, at_least=1)
    check_integer("n_steps", n_steps, at_least=1)
    inputs = batch if isinstance(batch, tuple) else (batch,)
    device = next((value.device for value in inputs if isinstance(value, Tensor)), None)
    if device is None:
        raise TypeError(f"`batch` must be a tensor or a tuple with one but got {batch!r}.")
    devices, kind = ([], "cuda") if device.type == "cpu" else ([device], device.type)
    with torch.random.fork_rng(devices, device_type=kind):
        model = stack(build, n_members).to(device)
        networks = [build().to(device) for _ in range(n_members)]
        together = [partial(_step, model, SGD(model.parameters(), momentum=0.9), inputs)]
        loop = [
            partial(_step, network, torch.optim.SGD(network.parameters(), momentum=0.9), inputs)
            for network in networks
        ]
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(_N_WARM_UP + n_steps):
            for seconds, steps in zip(times, (together, loop), strict=True):
                seconds.append(_seconds(steps, device))
    batch_seconds, loop_seconds = (median(seconds[_N_WARM_UP:]) for seconds in times)
    return SuggestedMode(n_members, batch_seconds, loop_seconds, str(device))


def _step(network: nn.Module, optimizer: torch.optim.Optimizer, inputs: tuple[Any, ...]) -> None:
    """Take one training step."""
    torch.stack([y.float().square().mean() for y in _tensors(network(*inputs))]).sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def _tensors(output: Any) -> list[Tensor]:
    """Return the tensors with gradients in what a network returns."""
    if isinstance(output, Tensor):
        return [output] if output.requires_grad else []
    parts = output.values() if isinstance(output, Mapping) else output
    return [tensor for part in parts for tensor in _tensors(part)]


def _seconds(steps: Sequence[Callable[[], None]], device: torch.device) -> float:
    """Return how long these steps take, one after the other."""
    start = time.perf_counter()
    for step in steps:
        step()
    torch.zeros((), device=device).item()  # an accelerator computes it after all the rest
    return time.perf_counter() - start
