"""What callers hand to a loss is checked here, before anything is computed."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

REDUCTIONS = ("mean", "sum", "none")


def theta_tensor(theta: Sequence[float] | Tensor) -> Tensor:
    """Return `theta` as a tensor of eight finite numbers; a tensor comes back as it is."""
    if not isinstance(theta, Tensor):
        try:
            numbers = [float(number) for number in theta]
        except (TypeError, ValueError) as error:
            raise TypeError(f"`theta` must hold eight numbers but got {theta!r}.") from error
        # float64 on the CPU, whatever torch's defaults: rounding and moving are the caller's step.
        theta = torch.tensor(numbers, dtype=torch.float64, device="cpu")
    if theta.is_complex() or theta.dtype == torch.bool:
        raise TypeError(f"`theta` must hold real numbers but got {theta.dtype}.")
    if theta.shape != (8,):
        got = f"shape {tuple(theta.shape)}" if theta.ndim != 1 else len(theta)
        raise ValueError(f"`theta` must hold eight numbers but got {got}.")
    if not _lies_within(theta, -math.inf, math.inf):
        raise ValueError(f"`theta` must be finite but got {theta.tolist()}.")
    return theta


def check_theta_fits(theta: Tensor, logits: Tensor) -> None:
    """Raise unless a `theta` that was given as a tensor lies where the logits lie."""
    if theta.device != logits.device:
        raise ValueError(
            f"`theta` must be on the device of `logits`, {logits.device}, but got {theta.device}."
        )


def check_logits(logits: Tensor) -> None:
    """Raise unless `logits` are floating numbers with a class dimension."""
    if not isinstance(logits, Tensor):
        raise TypeError(f"`logits` must be a tensor but got {type(logits).__name__}.")
    if not logits.is_floating_point():
        raise TypeError(f"`logits` must have a floating dtype but got {logits.dtype}.")
    if logits.ndim == 0:
        raise ValueError("`logits` must have a class dimension but got a 0-d tensor.")
