"""What `fused.py` computes, as one kernel for the losses and one for the gradient.

On a GPU each pass over the logits counts: these read them once each, and write nothing but their
results. `fused.py` has the formulas; it imports this module only where there is CUDA.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["MAX_CLASSES", "gradient", "losses"]

MAX_CLASSES = 16384  # a row must fit into the registers of one program
_TILE = 1024  # numbers of one program, where rows are shorter


def losses(logits: Tensor, target: Tensor, cubics: tuple[Tensor, ...]) -> Tensor:
    """Return each sample's loss, float32, for classes in the last dimension, which it keeps.

    Args:
        logits: Unscaled outputs, float32 or of half precision, shape (..., C).
        target: Class indices, int64, shape (...).
        cubics: k, a, c_h, c_hh and c_hy of `fused.Cubics`: tensors of one number, or of P for
            logits of shape (P, ..., C).
    """
    # `gather`, and not the kernel, finds the true class's logit: it stops at an index out of range.
    true = logits.gather(-1, target.unsqueeze(-1))
    result = torch.empty_like(true, dtype=torch.float32, memory_format=torch.contiguous_format)
    _launch(_losses_kernel, logits, cubics, true.contiguous(), result)
    return result


def gradient(logits: Tensor, target: Tensor, cubics: tuple[Tensor, ...], grad: Tensor) -> Tensor:
    """Return the gradient in `logits`, of their dtype.

    Args:
        logits: As for `losses`, as the next two.
        target: Class indices.
        cubics: From θ.
        grad: The gradient in the losses: one for all, one for each member, or one for each sample.
    """
    result = torch.empty_like(logits, memory_format=torch.contiguous_format)
    rows_a_grad = target.numel() // grad.numel()
    _launch(
        _gradient_kernel,
        logits,
        cubics,
        target.contiguous(),
        grad.to(torch.float32).contiguous(),
        rows_a_grad,
        result,
    )
    return result


def _launch(kernel: Any, logits: Tensor, cubics: tuple[Tensor, ...], *arguments: Any) -> None:
    n_classes = logits.shape[-1]
    n_rows = logits.numel() // n_classes
    block = triton.next_power_of_2(n_classes)
    n_together = max(1, _TILE // block)
    kernel[(triton.cdiv(n_rows, n_together),)](
        logits.contiguous(),
        *arguments,
        *cubics,
        n_rows,
        n_classes,
        n_rows // cubics[0].numel(),
        ROWS=n_together,
        BLOCK=block,
        num_warps=4 if block <= 2048 else 8 if block <= 8192 else 16,
    )


# Without annotations: triton looks their names up, and refuses those that are not its own.


@triton.jit
def _exponentials(logits, rows, inside, n_classes, BLOCK: tl.constexpr):  # noqa: N803
    """Return exp(z - max z), 0 beyond the classes, its sum and max z, for each row."""
    classes = tl.arange(0, BLOCK)[None, :]
    mask = inside & (classes < n_classes)
    z = tl.load(logits + rows * n_classes + classes, mask=mask, other=-float("inf"))
    z = z.to(tl.float32)
    highest = tl.max(z, 1)[:, None]
    powers = tl.where(mask, tl.exp(z - highest), 0.0)
    return powers, tl.sum(powers, 1)[:, None], highest


@triton.jit
def _losses_kernel(
    logits,
    true,
    result,
    k,
    a,
    c_h,
    c_hh,
    c_hy,
    n_rows,
    n_classes,
    rows_a_member,
    ROWS: tl.constexpr,  # noqa: N803
    BLOCK: tl.constexpr,  # noqa: N803
):
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    inside = rows < n_rows
    member = rows // rows_a_member
    powers, total, highest = _exponentials(logits, rows, inside, n_classes, BLOCK)
    y = powers / total
    z_t = tl.load(true + rows, mask=inside).to(tl.float32)
    y_t = tl.exp(z_t - highest) / total
    half = tl.load(c_h + member, mask=inside) / 2
    third = tl.load(c_hh + member, mask=inside) / 3
    of_true = tl.load(a + member, mask=inside) + tl.load(c_hy + member, mask=inside) / 2 * y_t
    loss = tl.load(k + member, mask=inside) + y_t * of_true
    loss += tl.sum(y * y * (half + third * y), 1)[:, None]
    tl.store(result + rows, loss, mask=inside)


@triton.jit
def _gradient_kernel(
    logits,
    target,
    grad,
    rows_a_grad,
    result,
    k,  # noqa: ARG001 - both kernels are given the same numbers
    a,
    c_h,
    c_hh,
    c_hy,
    n_rows,
    n_classes,
    rows_a_member,
    ROWS: tl.constexpr,  # noqa: N803
    BLOCK: tl.constexpr,  # noqa: N803
):
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    inside = rows < n_rows
    member = rows // rows_a_member
    powers, total, _ = _exponentials(logits, rows, inside, n_classes, BLOCK)
    y = powers / total
    classes = tl.arange(0, BLOCK)[None, :]
    is_true = classes == tl.load(target + rows, mask=inside)
    of_any = tl.load(c_h + member, mask=inside) + tl.load(c_hh + member, mask=inside) * y
    of_true = tl.load(a + member, mask=inside) + tl.load(c_hy + member, mask=inside) * y
    in_y = y * (y * of_any + tl.where(is_true, of_true, 0.0))
    outer = tl.load(grad + rows // rows_a_grad, mask=inside)
    slope = outer * (in_y - y * tl.sum(in_y, 1)[:, None])
    here = inside & (classes < n_classes)
    tl.store(result + rows * n_classes + classes, slope.to(result.dtype.element_ty), mask=here)
