"""Chains of the layers that small networks are made of, computed without `vmap`.

`vmap` adds biases one pass after the product, and moves the members of a normalised batch to where
one batch normalisation finds them as channels. What small networks compute takes less time than
that, so the layers below have a form of their own. Between them a batch has shape
(P, features, N): the gradient of a weight then comes out of its product as the weight is stored,
and need not be copied, and sums over a batch run along memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from epbt_optuna.batched.layers import Dropout

__all__ = ["compute_chain", "find_chain"]

# Each element by itself: the same function, whatever the shape.
_ELEMENTWISE = (
    *(nn.CELU, nn.Dropout, nn.ELU, nn.GELU, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh),
    *(nn.Identity, nn.LeakyReLU, nn.Mish, nn.ReLU, nn.ReLU6, nn.SELU, nn.SiLU, nn.Sigmoid),
    *(nn.Softplus, nn.Tanh),
)


def find_chain(network: nn.Module) -> list[nn.Module] | None:
    """Return the layers of a network that is nothing but a chain of those known here, or None."""
    if type(network) is nn.Sequential:
        chains = [find_chain(layer) for layer in network]
        if not chains or None in chains:
            return None
        return [layer for chain in chains if chain is not None for layer in chain]
    if type(network) is nn.Flatten:
        return [network] if (network.start_dim, network.end_dim) == (1, -1) else None
    if getattr(network, "inplace", False):  # the input may be everybody's
        return None
    known = (*_ELEMENTWISE, nn.Linear, nn.BatchNorm1d, Dropout)
    return [network] if type(network) in known else None


def compute_chain(layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Compute all members' outputs (P, N, features) from x of shape (P, N, ...)."""
    x = x.flatten(2).mT
    for layer in layers:
        if isinstance(layer, nn.Linear):
            x = _linear(layer, x)
        elif isinstance(layer, nn.BatchNorm1d):
            x = _batch_norm(layer, x)
        elif isinstance(layer, Dropout):
            x = Dropout.drop(x, layer.p.view(-1, 1, 1)) if layer.training else x
        elif not isinstance(layer, nn.Flatten):
            x = layer(x)
    return x.mT.contiguous()  # losses go along the classes


def _linear(layer: nn.Linear, x: Tensor) -> Tensor:
    bias: Tensor | None = layer.bias
    if bias is None:
        return torch.bmm(layer.weight, x)
    return torch.baddbmm(bias.unsqueeze(2), layer.weight, x)


def _batch_norm(layer: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """Normalise each member's batch, and note its statistics."""
    mean, variance, count = layer.running_mean, layer.running_var, layer.num_batches_tracked
    # Statistics of half precision are computed in float32, as torch does.
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    weight, bias = _affine(layer.weight, wide, 1.0), _affine(layer.bias, wide, 0.0)
    if not layer.training and mean is not None and variance is not None:
        scale = weight * (variance + layer.eps).rsqrt()
        shift = bias - mean * scale
        return torch.addcmul(shift.unsqueeze(2), wide, scale.unsqueeze(2)).to(x.dtype)
    n = x.shape[2]
    if n < 2:
        raise ValueError(
            "`BatchNorm1d` must have more than one sample to train on but got one for each member."
        )
    y: Tensor
    y, own_mean, own_variance = _Normalise.apply(wide, weight, bias, layer.eps)
    if mean is not None and variance is not None and count is not None:
        share = layer.momentum
        assert share is not None  # refused when stacked
        with torch.no_grad():
            mean.mul_(1 - share).add_(own_mean, alpha=share)
            variance.mul_(1 - share).add_(own_variance, alpha=share * n / (n - 1))
            count.add_(1)
    return y.to(x.dtype)


def _affine(parameter: Tensor | None, x: Tensor, default: float) -> Tensor:
    """Return a parameter for each feature of each member, where the layer has none the default."""
    if parameter is None:
        return x.new_full(x.shape[:2], default)
    return parameter.to(x.dtype)


class _Normalise(torch.autograd.Function):
    """Batch normalisation along the last dimension, with the gradient in closed form.

    torch's own takes members for channels, for which their batches must be moved.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean = x.mean(2, keepdim=True)
        centred = x - mean
        variance = centred.square().mean(2, keepdim=True)
        inverse = (variance + eps).rsqrt()
        y = torch.addcmul(bias.unsqueeze(2), centred, weight.unsqueeze(2) * inverse)
        ctx.save_for_backward(centred, inverse, weight)
        mean, variance = mean.squeeze(2), variance.squeeze(2)
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor, None]:
        # With c = x - mean, r = 1/σ and means over the batch:
        # dx = weight · r · (grad - mean(grad) - c · r² · mean(grad · c)).
        centred, inverse, weight = ctx.saved_tensors
        n = centred.shape[2]
        total = grad.sum(2, keepdim=True)
        product = (grad * centred).sum(2, keepdim=True)
        scale = weight.unsqueeze(2) * inverse
        dx = torch.addcmul(total * scale / -n, grad, scale)
        dx.addcmul_(centred, scale * inverse.square() * product / -n)
        return dx, (product * inverse).squeeze(2), total.squeeze(2), None
