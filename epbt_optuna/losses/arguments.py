"""What callers hand to a loss is checked here, before anything is computed from it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

import torch
from torch import Tensor

from epbt_optuna._internal.each import Each

__all__ = [
    "LossOptions",
    "check_classes",
    "check_label",
    "check_label_options",
    "check_logits",
    "check_members",
    "check_reduction",
    "check_same_device",
    "check_target",
    "check_weight",
    "extremes",
    "theta_in",
    "theta_names",
    "theta_numbers",
    "theta_tensor",
]


class LossOptions(TypedDict, total=False):
    """What a loss is made with beside θ: see `TaylorGLOLoss`."""

    normalize: bool
    reduction: str
    weight: Tensor | None
    ignore_index: int
    label_smoothing: float


def theta_names(prefix: str) -> list[str]:
    """Return the names of θ0, ..., θ7 among a trial's params."""
    return [f"{prefix}{i}" for i in range(8)]


def theta_in(params: Mapping[str, Any], prefix: str) -> list[Any]:
    """Return θ0, ..., θ7 from a trial's params."""
    names = theta_names(prefix)
    if missing := [name for name in names if name not in params]:
        raise ValueError(f"`params` must hold {names[0]}, ..., {names[-1]} but lacks {missing}.")
    return [params[name] for name in names]


def theta_numbers(theta: Iterable[float]) -> tuple[float, ...]:
    """Return `theta` as eight finite numbers."""
    try:
        numbers = tuple(float(number) for number in theta)
    except (TypeError, ValueError) as error:
        raise TypeError(f"`theta` must hold eight numbers but got {theta!r}.") from error
    if len(numbers) != 8:
        raise ValueError(f"`theta` must hold eight numbers but got {len(numbers)}.")
    _check_finite("theta", numbers)
    return numbers


def theta_tensor(theta: Iterable[float] | Tensor, *, members: bool = False) -> Tensor:
    """Return `theta` as a tensor of eight finite numbers; a tensor comes back as it is.

    With `members`, there may be eight for each of some members, shape (P, 8).
    """
    if not isinstance(theta, Tensor):
        return torch.tensor(theta_numbers(theta), dtype=torch.float64, device="cpu")
    if theta.is_complex() or theta.dtype == torch.bool:
        raise TypeError(f"`theta` must hold real numbers but got {theta.dtype}.")
    shape = tuple(theta.shape)
    if shape != (8,) and not (members and len(shape) == 2 and shape[0] > 0 and shape[1] == 8):
        got = len(theta) if theta.ndim == 1 else f"shape {shape}"
        raise ValueError(f"`theta` must hold eight numbers but got {got}.")
    _check_finite("theta", extremes(theta))
    return theta


def check_members(theta: Tensor, logits: Tensor) -> None:
    """Raise unless `logits` are those of the members whose θ, shape (P, 8), these are."""
    if logits.ndim < 3 or len(logits) != len(theta):
        raise ValueError(
            f"`theta` must hold eight numbers but got shape {tuple(theta.shape)}: for {len(theta)} "
            f"members' losses, `logits` must have shape ({len(theta)}, B, ..., C), classes last, "
            f"but got {tuple(logits.shape)}."
        )


def check_logits(logits: Tensor) -> None:
    """Raise unless `logits` are floating-point numbers with a dimension for classes."""
    if not isinstance(logits, Tensor):
        raise TypeError(f"`logits` must be a tensor but got {type(logits).__name__}.")
    if not logits.is_floating_point():
        raise TypeError(f"`logits` must be floating point but got {logits.dtype}.")
    if logits.ndim == 0:
        raise ValueError("`logits` must have a class dimension but got a 0-d tensor.")


def check_classes(logits: Tensor, class_dim: int) -> None:
    """Raise unless `logits` have two or more classes."""
    if logits.shape[class_dim] < 2:
        raise ValueError(
            "`logits` must have two or more classes, since the softmax of one is constant, but got "
            f"shape {tuple(logits.shape)}."
        )


def check_target(
    target: Tensor | Each, logits: Tensor, class_dim: int, ignore_index: int, *, members: bool
) -> Tensor:
    """Return `target`, or raise unless it has an index, or a probability per class, per sample.

    Members share it, and it is expanded to them, unless it is marked as having one for each.
    """
    shared = members and not isinstance(target, Each)
    if members and isinstance(target, Each):
        target = target.value
    if not isinstance(target, Tensor):
        raise TypeError(f"`target` must be a tensor but got {type(target).__name__}.")
    if target.is_complex() or target.dtype == torch.bool:
        raise TypeError(
            "`target` must hold class indices (integers) or class probabilities (floating point) "
            f"but got {target.dtype}."
        )
    shape, kind = list(logits.shape), "probabilities"
    if not target.is_floating_point():
        shape.pop(class_dim)  # torch 2.5 compiles this, and no `del shape[...]`
        kind = "indices"
    elif ignore_index >= 0:
        raise ValueError(
            "`ignore_index` must be left out where `target` holds class probabilities but got "
            f"{ignore_index}."
        )
    expected = shape[1:] if shared else shape
    if list(target.shape) != expected:
        hint = ""
        if shared and list(target.shape) == shape:
            hint = " (mark what each member has of its own: `each(target)`)"
        elif members:
            hint = f" ({'shared by all' if shared else 'one for each'} of {len(logits)} members)"
        raise ValueError(
            f"`target` must have shape {tuple(expected)} to hold class {kind} for `logits` of "
            f"shape {tuple(logits.shape)} but got {tuple(target.shape)}{hint}."
        )
    check_same_device("target", target, logits)
    return target


def check_label(label: Tensor, logits: Tensor, class_dim: int, found: tuple[float, ...]) -> None:
    """Raise unless all class indices are of a class, or all probabilities can be that.

    `found` are the extremes of `label`.
    """
    end, kind, rule = math.inf, "probabilities", "be finite and not negative"
    if not label.is_floating_point():
        end, kind = logits.shape[class_dim], "indices"
        rule = f"be from 0 to {end - 1}, or `ignore_index`,"
    if bad := [value for value in found if not 0 <= value < end]:
        raise ValueError(f"`target`'s class {kind} must {rule} but got {bad[0]}.")
    if label.ndim == 1 and label.is_floating_point() and logits.ndim == 1:
        for total in extremes(label.sum())[:1]:
            if abs(total - 1) > 0.01:  # bfloat16's rounding errors are less
                raise ValueError(
                    f"`target`'s class probabilities must sum to 1 for `logits` of shape "
                    f"{tuple(logits.shape)}, one sample of {len(logits)} classes, but sum to "
                    f"{total}."
                )


def check_weight(weight: Tensor | None, logits: Tensor | None = None, class_dim: int = 0) -> None:
    """Raise unless `weight` holds a finite number for each class of `logits`, or is None."""
    if weight is None:
        return
    if not isinstance(weight, Tensor):
        raise TypeError(f"`weight` must be a tensor but got {type(weight).__name__}.")
    if not weight.is_floating_point():
        raise TypeError(f"`weight` must be floating point but got {weight.dtype}.")
    if weight.ndim != 1 or (logits is not None and len(weight) != logits.shape[class_dim]):
        n_classes = "C" if logits is None else logits.shape[class_dim]
        raise ValueError(
            f"`weight` must have shape ({n_classes},), one for each class, but got "
            f"{tuple(weight.shape)}."
        )
    _check_finite("weight", extremes(weight))
    if logits is not None:
        check_same_device("weight", weight, logits)


def check_label_options(ignore_index: int, label_smoothing: float) -> None:
    """Raise unless the class to leave out is an integer and the smoothing a share."""
    if isinstance(ignore_index, bool) or not isinstance(ignore_index, int):
        raise TypeError(f"`ignore_index` must be an integer but got {ignore_index!r}.")
    if not isinstance(label_smoothing, (int, float)):
        raise TypeError(f"`label_smoothing` must be a number but got {label_smoothing!r}.")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"`label_smoothing` must be in [0, 1] but got {label_smoothing}.")


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


def _check_finite(name: str, numbers: Iterable[float]) -> None:
    if bad := [number for number in numbers if not math.isfinite(number)]:
        raise ValueError(f"`{name}` must hold finite numbers but got {bad[0]}.")


def extremes(values: Tensor) -> tuple[float, ...]:
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
