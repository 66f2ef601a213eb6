"""What callers hand to a loss is checked here, before anything is computed from it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "check_logits",
    "check_reduction",
    "check_same_device",
    "check_target",
    "theta_in",
    "theta_names",
    "theta_tensor",
]


def theta_names(prefix: str) -> list[str]:
    """Return the names of θ0, ..., θ7 among a trial's params."""
    return [f"{prefix}{i}" for i in range(8)]


def theta_in(params: Mapping[str, Any], prefix: str) -> list[Any]:
    """Return θ0, ..., θ7 from a trial's params."""
    names = theta_names(prefix)
    if missing := [name for name in names if name not in params]:
        raise ValueError(f"`params` must hold {names[0]}, ..., {names[-1]} but lacks {missing}.")
    return [params[name] for name in names]


def theta_tensor(theta: Iterable[float] | Tensor) -> Tensor:
    """Return `theta` as a tensor of eight finite numbers; a tensor comes back as it is."""
    if not isinstance(theta, Tensor):
        try:
            numbers = [float(number) for number in theta]
        except (TypeError, ValueError) as error:
            raise TypeError(f"`theta` must hold eight numbers but got {theta!r}.") from error
        theta = torch.tensor(numbers, dtype=torch.float64, device="cpu")
    if theta.is_complex() or theta.dtype == torch.bool:
        raise TypeError(f"`theta` must hold real numbers but got {theta.dtype}.")
    if theta.shape != (8,):
        got = len(theta) if theta.ndim == 1 else f"shape {tuple(theta.shape)}"
        raise ValueError(f"`theta` must hold eight numbers but got {got}.")
    if bad := [number for number in _extremes(theta) if not math.isfinite(number)]:
        raise ValueError(f"`theta` must hold finite numbers but got {bad[0]}.")
    return theta


def check_logits(logits: Tensor) -> None:
    """Raise unless `logits` are floating-point numbers with a class dimension."""
    if not isinstance(logits, Tensor):
        raise TypeError(f"`logits` must be a tensor but got {type(logits).__name__}.")
    if not logits.is_floating_point():
        raise TypeError(f"`logits` must be floating point but got {logits.dtype}.")
    if logits.ndim == 0:
        raise ValueError("`logits` must have a class dimension but got a 0-d tensor.")


def check_target(target: Tensor, logits: Tensor, class_dim: int) -> None:
    """Raise unless `target` holds a class index, or a probability per class, for each sample."""
    if not isinstance(target, Tensor):
        raise TypeError(f"`target` must be a tensor but got {type(target).__name__}.")
    if target.is_complex() or target.dtype == torch.bool:
        raise TypeError(
            "`target` must hold class indices (integers) or class probabilities (floating point) "
            f"but got {target.dtype}."
        )
    shape, end = list(logits.shape), math.inf
    kind, rule = "probabilities", "be finite and not negative"
    if not target.is_floating_point():
        end = shape.pop(class_dim)
        kind, rule = "indices", f"be from 0 to {end - 1} (there is no ignore_index)"
    if list(target.shape) != shape:
        raise ValueError(
            f"`target` must have shape {tuple(shape)} to hold class {kind} for `logits` of shape "
            f"{tuple(logits.shape)} but got {tuple(target.shape)}."
        )
    check_same_device("target", target, logits)
    if bad := [value for value in _extremes(target) if not 0 <= value < end]:
        raise ValueError(f"`target`'s class {kind} must {rule} but got {bad[0]}.")


def check_same_device(name: str, value: Tensor, logits: Tensor) -> None:
    """Raise unless `value` is on the device of `logits`."""
    if value.device != logits.device:
        raise ValueError(
            f"`{name}` must be on the device of `logits`, {logits.device}, but got {value.device}."
        )


def check_reduction(reduction: str) -> None:
    """Raise unless `reduction` is one of those that torch's own losses know."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"`reduction` must be 'mean', 'sum' or 'none' but got {reduction!r}.")


def _extremes(values: Tensor) -> tuple[float, ...]:
    """Return the smallest and the largest of `values` (NaN if any is), or nothing.

    Nothing where there are no values, and where reading them has a price: on an accelerator the
    host would wait for the device, and under torch.compile the graph would break. vmap and fake
    tensors have no values to give and say so with a RuntimeError.
    """
    if torch.compiler.is_compiling() or values.device.type != "cpu" or values.numel() == 0:
        return ()
    try:
        return tuple(extreme.item() for extreme in torch.aminmax(values.detach()))
    except RuntimeError:
        return ()
