"""TaylorGLO: a loss function that is eight numbers, so that evolution can shape it.

Labels, weights and reductions are those of `torch.nn.CrossEntropyLoss`; `equation.py` has the loss
of a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor, nn

from epbt_optuna._internal.checks import check_number
from epbt_optuna.losses.arguments import (
    LossOptions,
    check_label,
    check_label_options,
    check_logits,
    check_reduction,
    check_same_device,
    check_target,
    check_weight,
    theta_in,
    theta_names,
    theta_tensor,
)
from epbt_optuna.losses.equation import Equation1, class_dim, gradient_scale
from epbt_optuna.losses.labels import label_weights, smoothed, without_ignored
from epbt_optuna.losses.theta import Theta

if TYPE_CHECKING:
    from optuna.trial import BaseTrial
    from typing_extensions import Self, Unpack

__all__ = ["TaylorGLOLoss", "taylor_glo_loss"]


def taylor_glo_loss(
    logits: Tensor,
    target: Tensor,
    theta: Theta,
    *,
    reduction: str = "mean",
    normalize: bool = False,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Compute the TaylorGLO loss, equation (1).

    Shapes, labels, weights and reductions are those of `torch.nn.functional.cross_entropy`.
    Differentiable, also twice, in `logits`, `theta` and a `target` of probabilities, in reverse
    mode. Under `torch.func.vmap` a population of models, each with its own θ, trains in one call.

    Args:
        logits: Unscaled outputs, shape (C,), (N, C) or (N, C, d1, ...), for C classes, two or
            more. Half-precision logits are computed in float32.
        target: Class indices, integers of the shape of `logits` without C, or class
            probabilities, floating point of the shape of `logits`.
        theta: θ0, ..., θ7 in the paper's order.
        reduction: `"mean"` or `"sum"` over the samples, or `"none"`: a loss for each. The mean is
            weighted: for class indices, the sum is divided by that of the samples' class weights.
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
        weight: A weight for each class, shape (C,). A sample's loss is multiplied by its class's,
            or, for probabilities and smoothed labels, by its label's mean weight Σ x_i weight_i.
        ignore_index: A class index to leave out: such samples have loss and gradient 0, and do not
            count in the mean (which is NaN where no others are left).
        label_smoothing: The share in [0, 1] of each label x that is spread evenly over all classes.

    Returns:
        The loss: a scalar, or with `"none"` of the shape of `logits` without C. float64 for
        float64 logits, else float32.

    Raises:
        TypeError: If `logits`, `target` or `weight` is not a tensor, or of a dtype that is not
            described above, or if `theta` does not hold real numbers.
        ValueError: If `theta` does not hold eight finite numbers or is a tensor on another device
            than `logits`, if there are fewer than two classes, if shapes or devices do not fit, if
            a class index is out of range, if a probability is negative or not finite, if those of a
            single sample, shape (C,), do not sum to 1 (binary cross-entropy's batches have that
            shape), or if an option is out of its range. Values are looked at where that is free:
            not on accelerators, nor under `torch.compile` or `vmap`, where torch itself stops at a
            class index out of range.
    """
    check_reduction(reduction)
    check_label_options(ignore_index, label_smoothing)
    check_logits(logits)
    dim = class_dim(logits)
    check_target(target, logits, dim, ignore_index)
    check_weight(weight, logits, dim)
    if isinstance(theta, Tensor):
        check_same_device("theta", theta, logits)
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    theta = theta_tensor(theta).to(logits.device, dtype)
    label, ignored = without_ignored(target, ignore_index)
    check_label(label, logits, dim)
    x = smoothed(label, logits.to(dtype), label_smoothing) if label_smoothing > 0 else label
    losses: Tensor = Equation1.apply(logits, x, theta)
    if normalize:
        losses = losses * gradient_scale(theta, logits.shape[dim])
    if weight is not None:
        weight = weight.to(dtype)
        losses = losses * label_weights(x, weight, dim)
    if ignored is not None:
        losses = losses.masked_fill(ignored, 0)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    if ignored is None:
        return losses.mean()
    counts = torch.ones_like(losses) if weight is None else weight[label]
    return losses.sum() / counts.masked_fill(ignored, 0).sum()


class TaylorGLOLoss(nn.Module):
    """TaylorGLO, equation (1), as a module.

    Args:
        theta: θ0, ..., θ7 in the paper's order.
        normalize: Scale the gradient at uniform output to cross-entropy's: see `taylor_glo_loss`.
        reduction: `"mean"` or `"sum"` over the samples, or `"none"`.
        weight: A weight for each class, shape (C,).
        ignore_index: A class index to leave out.
        label_smoothing: The share in [0, 1] of each label that is spread evenly over all classes.

    Attributes:
        theta: The eight numbers, a tensor of shape (8,). It moves with the model (`.to(device)`,
            `.cuda()`), but keeps its dtype where the model is made `.half()` or `.bfloat16()`, as
            `weight` does. Neither is in the `state_dict`.

    Raises:
        TypeError: If `theta` does not hold real numbers, or an option is of another kind.
        ValueError: If `theta` does not hold eight finite numbers, or an option is out of its range.

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
    weight: Tensor | None

    def __init__(
        self,
        theta: Theta,
        *,
        normalize: bool = False,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        check_label_options(ignore_index, label_smoothing)
        check_weight(weight)
        own = theta_tensor(theta)
        if isinstance(theta, Tensor):
            own = own.detach().clone()
        else:  # on the default device, and at least float32 whatever the default dtype
            dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
            own = torch.tensor(own.tolist(), dtype=dtype)
        # Not in the state_dict: a child that loads its parent's weights has mutated this loss,
        # and would otherwise be handed back its parent's.
        self.register_buffer("theta", own, persistent=False)
        self.register_buffer("weight", weight, persistent=False)
        self.normalize = normalize
        self.reduction = reduction
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    @classmethod
    def suggest(
        cls,
        trial: BaseTrial,
        low: float = -10.0,
        high: float = 10.0,
        *,
        prefix: str = "theta_",
        **options: Unpack[LossOptions],
    ) -> Self:
        """Make the loss of a trial: θ is suggested as `theta_0`, ..., `theta_7`.

        Args:
            trial: The trial that suggests.
            low: The least value of each θ. The paper's range is [-10, 10].
            high: The greatest value of each θ.
            prefix: What the parameters' names begin with.
            **options: As for the class: `normalize`, `reduction`, ...

        Raises:
            TypeError: If `low` or `high` is not a number.
            ValueError: If `low` or `high` is not finite, `low` is not less than `high`, or an
                option is out of its range.
        """
        check_number("low", low)
        check_number("high", high)
        if low >= high:
            raise ValueError(f"`low` must be less than `high` but got {low} and {high}.")
        theta = [trial.suggest_float(name, low, high) for name in theta_names(prefix)]
        return cls(theta, **options)

    @classmethod
    def from_params(
        cls, params: Mapping[str, Any], *, prefix: str = "theta_", **options: Unpack[LossOptions]
    ) -> Self:
        """Make the loss of a finished trial from its `params`; other parameters are ignored.

        Raises:
            TypeError: If a parameter is not a number.
            ValueError: If `params` lacks a θ, one is not finite, or an option is out of its range.
        """
        return cls(theta_in(params, prefix), **options)

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
            logits,
            target,
            self.theta,
            reduction=self.reduction,
            normalize=self.normalize,
            weight=self.weight,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move with the model, but keep θ whole: bfloat16 holds three digits of it."""
        before = dict(self.named_buffers(recurse=False))
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in before.items():
            moved = getattr(self, name)
            if moved.itemsize < min(4, buffer.itemsize):
                setattr(self, name, buffer.to(moved.device))
        return self

    def __prepare_scriptable__(self) -> NoReturn:
        raise TypeError(
            "TaylorGLOLoss cannot be compiled by torch.jit.script: script the model without its "
            "loss, or use torch.compile for both."
        )

    def extra_repr(self) -> str:
        """Describe the loss when the module is printed."""
        theta = ", ".join(f"{number:g}" for number in self.theta.tolist())
        text = f"theta=({theta}), normalize={self.normalize}, reduction={self.reduction!r}"
        if self.weight is not None:
            text += f", weight={self.weight.tolist()}"
        if self.ignore_index != -100:
            text += f", ignore_index={self.ignore_index}"
        return f"{text}, label_smoothing={self.label_smoothing}" if self.label_smoothing else text
