"""Layers whose hyperparameters may differ between members."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from epbt_optuna._internal.checks import check_probability

__all__ = ["Dropout"]


class Dropout(nn.Module):
    """Dropout with a rate of its own for each member of a stack.

    Masks differ between members, as they do with `torch.nn.Dropout`. Outside of a stack, with one
    number, it is `torch.nn.Dropout`. The rate is a hyperparameter: no `state_dict()` has it, so
    that none is inherited.

    Args:
        p: The rate, a number in [0, 1], or a tensor of shape (P,) with those of all members,
            where this is a layer of what `stack` builds.

    Raises:
        TypeError: `p` is no number.
        ValueError: `p` is not in [0, 1] or has another shape.
    """

    p: Tensor

    def __init__(self, p: float | Tensor = 0.5) -> None:
        super().__init__()
        if not isinstance(p, Tensor):
            check_probability("p", p)
        rate = torch.as_tensor(p, dtype=torch.get_default_dtype()).detach().clone()
        if rate.ndim > 1:
            raise ValueError(
                "`p` must be a number or of shape (P,), for P members, but got shape "
                f"{tuple(rate.shape)}."
            )
        if not bool(((rate >= 0) & (rate <= 1)).all()):
            raise ValueError(f"`p` must be in [0, 1] but got {rate.tolist()}.")
        self.register_buffer("p", rate, persistent=False)

    def is_for_each(self, path: str, n: int) -> bool:
        """Tell whether the rates are those of all n members already; raise if they are of others.

        Args:
            path: The layer's name in its network.
            n: The number of members.
        """
        if self.p.ndim == 1 and len(self.p) != n:
            raise ValueError(
                f"`p` of `{path}` must be a number or of shape ({n},), for {n} members, but got "
                f"{tuple(self.p.shape)}."
            )
        return self.p.ndim == 1

    def forward(self, x: Tensor) -> Tensor:
        """Return x with some elements zero and the others larger, in training."""
        if not self.training:
            return x
        if self.p.ndim == 1:
            raise ValueError("`p` has a rate for each member: use the layer in a `batched.stack`.")
        return self.drop(x, self.p)

    @staticmethod
    def drop(x: Tensor, p: Tensor) -> Tensor:
        """Drop elements of `x` at the rates `p`, which must broadcast with it."""
        scale = (1 - p).reciprocal().masked_fill(p >= 1, 0)  # where all is dropped, not 0 · ∞
        return x * ((torch.rand_like(x, dtype=p.dtype) >= p) * scale).to(x.dtype)

    def extra_repr(self) -> str:
        """Return what `repr` says of it."""
        return f"p={self.p.tolist()}"
