"""TaylorGLO: a loss function that is eight numbers, so that evolution can shape it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import torch
from torch import Tensor, nn

from epbt_optuna._internal.checks import check_boolean, check_number
from epbt_optuna._internal.each import Each
from epbt_optuna.losses.arguments import (
    LossOptions,
    check_label_options,
    check_reduction,
    check_weight,
    theta_in,
    theta_names,
    theta_tensor,
)
from epbt_optuna.losses.functional import taylor_glo_loss
from epbt_optuna.losses.theta import Theta

if TYPE_CHECKING:
    from optuna.trial import BaseTrial
    from typing_extensions import Self, Unpack

__all__ = ["TaylorGLOLoss"]


class _Suggests(Protocol):
    """A generation: what it suggests is a tensor, a number for each of its members."""

    def suggest_float(self, name: str, low: float, high: float, /) -> Tensor: ...


class TaylorGLOLoss(nn.Module):
    """TaylorGLO, equation (1), as a module.

    Args:
        theta: θ0, ..., θ7 in the paper's order; or those of P members, a tensor of shape (P, 8),
            whose logits and losses then have a leading dimension: see `taylor_glo_loss`.
        normalize: Scale the gradient at uniform output to cross-entropy's: see `taylor_glo_loss`.
        reduction: `"mean"` or `"sum"` over the samples, or `"none"`.
        weight: A weight for each class, shape (C,).
        ignore_index: A class index to leave out.
        label_smoothing: The share in [0, 1] of each label that is spread evenly over all classes.

    Attributes:
        theta: The eight numbers, a tensor of shape (8,), or (P, 8) for P members. It moves with the
            model (`.to(device)`, `.cuda()`), but keeps its dtype where the model is made `.half()`
            or `.bfloat16()`, as `weight` does. Neither is in the `state_dict`. What is set or
            changed in place counts at the next call, but not through `.data`, which torch does not
            see either.

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
    _read: tuple[Tensor, int, tuple[float, ...]] | None = None

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
        check_boolean("normalize", normalize)
        check_reduction(reduction)
        check_label_options(ignore_index, label_smoothing)
        check_weight(weight)
        own = theta_tensor(theta, members=True)
        if isinstance(theta, Tensor):
            own = own.detach().clone()
        else:  # on the default device, and at least float32 whatever the default dtype
            dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
            own = torch.tensor(own.tolist(), dtype=dtype)
        # Not in the state_dict: a child that loads its parent's weights has mutated this loss,
        # and would otherwise be handed back its parent's.
        self.register_buffer("theta", own, persistent=False)
        self._read_theta()
        self.register_buffer("weight", weight, persistent=False)
        self.normalize = normalize
        self.reduction = reduction
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    @classmethod
    def suggest(
        cls,
        trial: BaseTrial | _Suggests,
        low: float = -10.0,
        high: float = 10.0,
        *,
        prefix: str = "theta_",
        **options: Unpack[LossOptions],
    ) -> Self:
        """Make the loss of a trial: θ is suggested as `theta_0`, ..., `theta_7`.

        Args:
            trial: The trial that suggests; or a generation, of which each member has its own θ.
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
        theta: list[Any] = [trial.suggest_float(name, low, high) for name in theta_names(prefix)]
        # A generation suggests tensors: a number for each of its members.
        return cls(torch.stack(theta, 1) if isinstance(theta[0], Tensor) else theta, **options)

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

    def forward(self, logits: Tensor, target: Tensor | Each) -> Tensor:
        """Compute the loss: `taylor_glo_loss` with this module's θ."""
        return taylor_glo_loss(
            logits,
            target,
            self._theta_as_numbers() or self.theta,
            reduction=self.reduction,
            normalize=self.normalize,
            weight=self.weight,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
        )

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "theta":
            self._read_theta()

    def _read_theta(self) -> None:
        """Keep θ as numbers, which cost less: no call then waits for an accelerator.

        Done where θ is set. What `functional_call` puts in its place, to be traced by a transform,
        has not been read, and is used as the tensor that it is.
        """
        theta = self.theta
        readable = theta.shape == (8,) and theta.device.type != "meta" and not theta.is_inference()
        self._read = (theta, theta._version, tuple(theta.tolist())) if readable else None

    def _theta_as_numbers(self) -> tuple[float, ...] | None:
        """Return θ as numbers, unless those are not known, or it has a gradient, or is traced."""
        if self._read is None or torch.compiler.is_compiling():
            return None
        theta, version, numbers = self._read
        if theta is not self.theta or theta.requires_grad:
            return None
        if theta._version == version:
            return numbers
        self._read_theta()  # it was changed in place
        return self._theta_as_numbers()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move with the model, but keep θ whole: bfloat16 holds three digits of it."""
        before = dict(self.named_buffers(recurse=False))
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in before.items():
            moved = getattr(self, name)
            if moved.itemsize < min(4, buffer.itemsize):
                setattr(self, name, buffer.to(moved.device))
        self._read_theta()  # `nn.Module` moves buffers without setting them
        return self

    def __prepare_scriptable__(self) -> NoReturn:
        raise TypeError(
            "TaylorGLOLoss cannot be compiled by torch.jit.script: script the model without its "
            "loss, or use torch.compile for both."
        )

    def extra_repr(self) -> str:
        """Describe the loss when the module is printed."""
        if self.theta.ndim == 1:
            theta = "(" + ", ".join(f"{number:g}" for number in self.theta.tolist()) + ")"
        else:
            theta = f"<{len(self.theta)} members'>"
        text = f"theta={theta}, normalize={self.normalize}, reduction={self.reduction!r}"
        if self.weight is not None:
            text += f", weight={self.weight.tolist()}"
        if self.ignore_index != -100:
            text += f", ignore_index={self.ignore_index}"
        return f"{text}, label_smoothing={self.label_smoothing}" if self.label_smoothing else text
