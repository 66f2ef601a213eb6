"""TaylorGLO: a loss function that is eight numbers, so that evolution can shape it.

Equation (1) of the EPBT paper (section 3.3), with its gradient in closed form. With
y = softmax(logits), x the true label, n classes, u = y - θ1 and w = x - θ0, a sample's loss is

    L = -1/n Σ [θ2 u + θ3 u²/2 + θ4 u³/6 + θ5 w u + θ6 w u²/2 + θ7 w² u/2].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from epbt_optuna._internal.checks import check_number
from epbt_optuna.losses.arguments import (
    check_logits,
    check_reduction,
    check_same_device,
    check_target,
    theta_in,
    theta_names,
    theta_tensor,
)
from epbt_optuna.losses.theta import Theta, gradient_coefficients

if TYPE_CHECKING:
    from optuna.trial import BaseTrial
    from typing_extensions import Self

__all__ = ["TaylorGLOLoss", "taylor_glo_loss"]

# What |s| counts as at least, as a share of its bound and as it is: see `normalize` below.
_RELATIVE_FLOOR, _ABSOLUTE_FLOOR = 0.01, 0.001


def taylor_glo_loss(
    logits: Tensor,
    target: Tensor,
    theta: Theta,
    *,
    reduction: str = "mean",
    normalize: bool = False,
) -> Tensor:
    """Compute the TaylorGLO loss, equation (1).

    Differentiable, also twice, in `logits`, `theta` and a `target` of probabilities, in reverse
    mode. Under `torch.func.vmap` a population of models, each with its own θ, trains in one call.

    Args:
        logits: Unscaled outputs, shape (C,), (N, C) or (N, C, d1, ...), as for
            `torch.nn.functional.cross_entropy`. Half-precision logits are computed in float32.
        target: Class indices, integers of the shape of `logits` without C, or class
            probabilities, floating point of the shape of `logits`. There is no `ignore_index`.
        theta: θ0, ..., θ7 in the paper's order.
        reduction: `"mean"` or `"sum"` over the samples, or `"none"`: a loss for each.
        normalize: Scale the loss so that its gradient at uniform output, where training starts,
            is as large as cross-entropy's: one learning rate then suits all θ. Unscaled it is
            |s|/n² times as large, with s = a + c_hy/n, a = θ5 - θ1 θ6 + θ7 (1/2 - θ0), c_hy = θ6,
            c_h = θ3 - θ4 θ1 - θ6 θ0 and c_hh = θ4/2, so the scale is n²/|s|; what is not
            trainable stays so. Where s all but cancels, the gradient would explode once the
            output is no longer uniform, so |s| counts as at least 1 % of its bound for any
            output, |a| + |c_h| + |c_hh| + |c_hy|, and as at least 0.001, so that no rounding
            error is blown up. This holds back 0.7 % of all θ in [-10, 10]⁸ and keeps the gradient
            in a logit, for class indices, below 25 n. The scale is part of the function:
            gradients in `theta` pass through it. Default: the paper's loss, unscaled.

    Returns:
        The loss: a scalar, or with `"none"` of the shape of `logits` without C. float64 for
        float64 logits, else float32.

    Raises:
        TypeError: If `logits` or `target` is not a tensor, or of a dtype that is not described
            above, or if `theta` does not hold real numbers.
        ValueError: If `theta` does not hold eight finite numbers or is a tensor on another device
            than `logits`, if shapes or devices do not fit, if a class index is out of range, if a
            probability is negative or not finite, or if `reduction` is unknown. Values are looked
            at where that is free: not on accelerators, nor under `torch.compile` or `vmap`, where
            torch itself stops at a class index out of range.
    """
    check_reduction(reduction)
    check_logits(logits)
    check_target(target, logits, _class_dim(logits))
    if isinstance(theta, Tensor):
        check_same_device("theta", theta, logits)
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    theta = theta_tensor(theta).to(logits.device, dtype)
    losses: Tensor = _TaylorGLO.apply(logits, target, theta)
    if normalize:
        losses = losses * _scale(theta, logits.shape[_class_dim(logits)])
    if reduction == "none":
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()


class TaylorGLOLoss(nn.Module):
    """TaylorGLO, equation (1), as a module.

    Args:
        theta: θ0, ..., θ7 in the paper's order.
        normalize: Scale the gradient at uniform output to cross-entropy's: see `taylor_glo_loss`.
        reduction: `"mean"` or `"sum"` over the samples, or `"none"`.

    Attributes:
        theta: The eight numbers, a tensor of shape (8,).

    Raises:
        TypeError: If `theta` does not hold real numbers.
        ValueError: If `theta` does not hold eight finite numbers, or `reduction` is unknown.

    Example:
        ```python
        import optuna
        import torch
        from epbt_optuna import TaylorGLOLoss, cross_entropy_like

        inputs = torch.randn(64, 3)
        labels = inputs.argmax(1)


        def objective(trial):
            loss_fn = TaylorGLOLoss.suggest(trial)
            model = torch.nn.Linear(3, 3)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(10):
                optimizer.zero_grad()
                loss_fn(model(inputs), labels).backward()
                optimizer.step()
            return (model(inputs).argmax(1) == labels).float().mean().item()


        study = optuna.create_study(direction="maximize")
        study.enqueue_trial(TaylorGLOLoss.to_params(cross_entropy_like(3)))  # a sound founder
        study.optimize(objective, n_trials=5)
        best = TaylorGLOLoss.from_params(study.best_params)
        ```
    """

    theta: Tensor

    def __init__(self, theta: Theta, *, normalize: bool = False, reduction: str = "mean") -> None:
        super().__init__()
        check_reduction(reduction)
        own = theta_tensor(theta)
        own = own.detach().clone() if isinstance(theta, Tensor) else torch.tensor(own.tolist())
        # Not in the state_dict: a child that loads its parent's weights has mutated this loss,
        # and would otherwise be handed back its parent's.
        self.register_buffer("theta", own, persistent=False)
        self.normalize = normalize
        self.reduction = reduction

    @classmethod
    def suggest(
        cls,
        trial: BaseTrial,
        low: float = -10.0,
        high: float = 10.0,
        *,
        prefix: str = "theta_",
        normalize: bool = False,
        reduction: str = "mean",
    ) -> Self:
        """Make the loss of a trial: θ is suggested as `theta_0`, ..., `theta_7`.

        Args:
            trial: The trial that suggests.
            low: The least value of each θ. The paper's range is [-10, 10].
            high: The greatest value of each θ.
            prefix: What the parameters' names begin with.
            normalize: As for the class.
            reduction: As for the class.

        Raises:
            TypeError: If `low` or `high` is not a number.
            ValueError: If `low` or `high` is not finite, `low` is not less than `high`, or
                `reduction` is unknown.
        """
        check_number("low", low)
        check_number("high", high)
        if low >= high:
            raise ValueError(f"`low` must be less than `high` but got {low} and {high}.")
        theta = [trial.suggest_float(name, low, high) for name in theta_names(prefix)]
        return cls(theta, normalize=normalize, reduction=reduction)

    @classmethod
    def from_params(
        cls,
        params: Mapping[str, Any],
        *,
        prefix: str = "theta_",
        normalize: bool = False,
        reduction: str = "mean",
    ) -> Self:
        """Make the loss of a finished trial from its `params`; other parameters are ignored.

        Raises:
            TypeError: If a parameter is not a number.
            ValueError: If `params` lacks a θ, one is not finite, or `reduction` is unknown.
        """
        return cls(theta_in(params, prefix), normalize=normalize, reduction=reduction)

    @staticmethod
    def to_params(theta: Theta, *, prefix: str = "theta_") -> dict[str, float]:
        """Return the params, `theta_0`, ..., of a trial with this θ, for `study.enqueue_trial`.

        Raises:
            TypeError: If `theta` does not hold real numbers.
            ValueError: If `theta` does not hold eight finite numbers.
        """
        return dict(zip(theta_names(prefix), theta_tensor(theta).tolist(), strict=True))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss: `taylor_glo_loss` with this module's θ."""
        return taylor_glo_loss(
            logits, target, self.theta, reduction=self.reduction, normalize=self.normalize
        )

    def extra_repr(self) -> str:
        """Describe the loss when the module is printed."""
        theta = ", ".join(f"{number:g}" for number in self.theta.tolist())
        return f"theta=({theta}), normalize={self.normalize}, reduction={self.reduction!r}"


class _TaylorGLO(torch.autograd.Function):
    """Equation (1) for each sample. Keeps only its inputs: softmax is cheap to compute again."""

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, target: Tensor, theta: Tensor) -> Tensor:
        _, u, w = _centre(logits, target, theta)
        _, _, t2, t3, t4, t5, t6, t7 = theta.unbind()
        bracket = u * (t2 + u * (t3 / 2 + u * (t4 / 6)) + w * (t5 + u * (t6 / 2) + w * (t7 / 2)))
        return -bracket.mean(_class_dim(logits))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad_losses: Tensor) -> tuple[Tensor | None, ...]:
        logits, target, theta = ctx.saved_tensors
        need_logits, need_target, need_theta = ctx.needs_input_grad
        grad_logits = grad_target = grad_theta = None
        dim = _class_dim(logits)
        y, u, w = _centre(logits, target, theta)
        _, _, t2, t3, t4, t5, t6, t7 = theta.unbind()
        outer = (grad_losses / -logits.shape[dim]).unsqueeze(dim)
        # The bracket's derivative in u, but for θ2, which cancels in the softmax's.
        in_u = u * (t3 + u * (t4 / 2)) + w * (t5 + u * t6 + w * (t7 / 2))
        if need_logits:
            in_y = y * in_u
            grad_logits = (outer * (in_y - y * in_y.sum(dim, keepdim=True))).to(logits.dtype)
        if need_target or need_theta:
            in_w = u * (t5 + u * (t6 / 2) + w * t7)
        if need_target:
            grad_target = (outer * in_w).to(target.dtype)
        if need_theta:
            in_theta = (-in_w, -in_u - t2, u, u**2 / 2, u**3 / 6, w * u, w * u**2 / 2, w**2 * u / 2)
            grad_theta = torch.stack([(outer * slope).sum() for slope in in_theta])
        return grad_logits, grad_target, grad_theta


def _centre(logits: Tensor, target: Tensor, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return y = softmax(logits), u = y - θ1 and w = x - θ0, all of the dtype of `theta`."""
    dim = _class_dim(logits)
    y = torch.softmax(logits, dim, dtype=theta.dtype)
    if target.is_floating_point():
        x = target.to(y.dtype)
    else:
        # A tensor of ones, not the number: torch.compile turns the scatter of a number into a
        # comparison, which takes an index out of range in silence.
        index = target.long().unsqueeze(dim)
        x = torch.zeros_like(y).scatter(dim, index, torch.ones_like(index, dtype=y.dtype))
    return y, y - theta[1], x - theta[0]


def _class_dim(logits: Tensor) -> int:
    return 0 if logits.ndim == 1 else 1


def _scale(theta: Tensor, n_classes: int) -> Tensor:
    """Return n²/|s|, |s| held above its floor: see `taylor_glo_loss`."""
    a, c_h, c_hh, c_hy = gradient_coefficients(theta.unbind())
    floor = _RELATIVE_FLOOR * (a.abs() + c_h.abs() + c_hh.abs() + c_hy.abs())
    size = torch.maximum((a + c_hy / n_classes).abs(), floor)
    return n_classes**2 / size.clamp(min=_ABSOLUTE_FLOOR)
