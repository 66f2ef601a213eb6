"""TaylorGLO: a loss function that is eight numbers, so that evolution can shape it.

Equation (1) of the EPBT paper (section 3.3), with its gradient in closed form. With
y = softmax(logits), x the true label, n classes, u = y - θ1 and w = x - θ0, a sample's loss is

    L = -1/n Σ [θ2 u + θ3 u²/2 + θ4 u³/6 + θ5 w u + θ6 w u²/2 + θ7 w² u/2].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from epbt_optuna._checks import check_integer, check_number
from epbt_optuna.losses._checks import (
    check_logits,
    check_reduction,
    check_same_device,
    check_target,
    theta_in,
    theta_names,
    theta_tensor,
)

if TYPE_CHECKING:
    from optuna.trial import BaseTrial
    from typing_extensions import Self

__all__ = ["TaylorGLOLoss", "cross_entropy_like", "is_trainable", "taylor_glo_loss"]

Theta: TypeAlias = Iterable[float] | Tensor
_Number = TypeVar("_Number", float, Tensor)

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


def is_trainable(
    theta: Theta | Mapping[str, Any], n_classes: int, *, prefix: str = "theta_"
) -> bool:
    """Tell whether a network at uniform output learns: its first step makes true classes likelier.

    That is θ5 - θ1 θ6 + θ7 (1/2 - θ0) + θ6/n > 0, which half of all θ in [-10, 10]⁸ violate. As a
    sampler's predicate: `EPBTSampler(..., feasible=partial(is_trainable, n_classes=10))`.

    Args:
        theta: θ0, ..., θ7, or a trial's params (which may hold other parameters too).
        n_classes: Number of classes, n.
        prefix: What the names of θ begin with in params.

    Raises:
        TypeError: If `theta` does not hold real numbers, or `n_classes` is not an integer.
        ValueError: If `theta` does not hold eight finite numbers, or `n_classes` is less than 2.
    """
    check_integer("n_classes", n_classes, at_least=2)
    if isinstance(theta, Mapping):
        theta = theta_in(theta, prefix)
    a, _, _, c_hy = _coefficients(theta_tensor(theta).tolist())
    return bool(a + c_hy / n_classes > 0)


def cross_entropy_like(n_classes: int, *, bound: float = 10.0) -> tuple[float, ...]:
    """Return a θ whose loss stands in for cross-entropy: a sound founder for a population.

    With probability t for the true class and the rest spread evenly, cross-entropy's gradient in
    the true class's logit is -(1 - t), and this loss's is 5 t (1 - t) times that: the family's
    least squares fit to a factor of 1, weighted by 1 - t. (A weight with a higher power of 1 - t
    would lower the logits of true classes that are almost learnt; with this one no output does.)

    What no θ can do: the factor t stays, so a sample whose true class has next to no probability
    is not learnt, where cross-entropy insists. And the scale ends at the bound: with the default
    one and n > 22 the factor is about 22/n of that, too little for many classes. `normalize=True`
    makes it 1 at uniform output, where training starts, and n²/(4 (n - 1)) at most: for many
    classes, divide the learning rate by about that.

    Args:
        n_classes: Number of classes, n.
        bound: The greatest |θi|: that of the range the population is searched in.

    Raises:
        TypeError: If an argument is not a number.
        ValueError: If `n_classes` is less than 2, or `bound` is not positive and finite.
    """
    check_integer("n_classes", n_classes, at_least=2)
    check_number("bound", bound)
    if bound <= 0:
        raise ValueError(f"`bound` must be positive but got {bound}.")
    # θ0 = -bound and θ1 = θ2 = θ3 = θ4 = 0 leave, for outputs t and o = (1 - t)/(n - 1),
    #   a + c_hy t + c_h (t - o)  with  a = θ5 + θ7 (1/2 + bound), c_hy = θ6, c_h = θ6 bound,
    # which must be n/t for cross-entropy's gradient, and here is 5 n (1 - t), if the bound allows.
    theta_6 = -5 / (1 + bound * n_classes / (n_classes - 1))
    a = 5 + theta_6 * bound / (n_classes - 1)
    theta_5 = theta_7 = a / (1.5 + bound)
    scale = min(n_classes, bound / max(theta_5, -theta_6))
    theta = (-bound, 0.0, 0.0, 0.0, 0.0, scale * theta_5, scale * theta_6, scale * theta_7)
    # Rounding may have taken the largest just over the bound, where a trial could not hold it.
    return tuple(float(max(-bound, min(number, bound))) for number in theta)


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


def _coefficients(theta: Sequence[_Number]) -> tuple[_Number, _Number, _Number, _Number]:
    """Return a, c_h, c_hh and c_hy, on which the gradient in the logits depends, and no more.

    With one-hot x and true class t, dL/dz_i = -1/n y_i (g_i - Σ y_j g_j), and for another class j
    g_t - g_j = a + c_hy y_t + c_h (y_t - y_j) + c_hh (y_t² - y_j²).
    """
    t0, t1, _, t3, t4, t5, t6, t7 = theta
    return t5 - t1 * t6 + t7 * (0.5 - t0), t3 - t4 * t1 - t6 * t0, t4 / 2, t6


def _scale(theta: Tensor, n_classes: int) -> Tensor:
    """Return n²/|s|, |s| held above its floor: see `taylor_glo_loss`."""
    a, c_h, c_hh, c_hy = _coefficients(theta.unbind())
    floor = _RELATIVE_FLOOR * (a.abs() + c_h.abs() + c_hh.abs() + c_hy.abs())
    size = torch.maximum((a + c_hy / n_classes).abs(), floor)
    return n_classes**2 / size.clamp(min=_ABSOLUTE_FLOOR)
