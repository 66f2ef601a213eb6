"""Restoring training state under this trial's hyperparameters, not the parent's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from epbt_optuna._internal.extras import needs

if TYPE_CHECKING:
    import torch

__all__ = ["restore_optimizer"]


def restore_optimizer(
    optimizer: torch.optim.Optimizer, state: Mapping[str, Any], **hyperparameters: Any
) -> None:
    """Restore an optimizer's state, then apply this trial's hyperparameters.

    `load_state_dict` brings back everything the parent had, its learning rate included. This
    keeps the parent's momentum and step counts and sets the named hyperparameters afterwards,
    in every parameter group.

    Args:
        optimizer: The optimizer of the child's model, built with the same parameter groups.
        state: The parent's `optimizer.state_dict()`.
        **hyperparameters: What this trial suggests, by the optimizer's own names, for example
            `lr=0.1, momentum=0.9`. A new `lr` also becomes the `initial_lr` that schedulers
            multiply. Build the scheduler after this call, and restore of its state only the
            step: its `base_lrs` are the parent's.

    Raises:
        ValueError: The optimizer has no hyperparameter of that name.
    """
    for group in optimizer.param_groups:
        known = sorted(key for key in group if key != "params")
        for name in hyperparameters.keys() - set(known):
            raise ValueError(
                f"`{name}` must be a hyperparameter of {type(optimizer).__name__}: "
                f"{', '.join(known)}."
            )
    optimizer.load_state_dict(dict(state))
    for group in optimizer.param_groups:
        for name, value in hyperparameters.items():
            _set(group, name, value)
            if name == "lr" and "initial_lr" in group:
                _set(group, "initial_lr", value)


def _set(group: dict[str, Any], name: str, value: Any) -> None:
    """Set one hyperparameter; a tensor (of a compiled optimizer) stays one."""
    with needs("torch", "`restore_optimizer`"):
        import torch

    old = group[name]
    group[name] = torch.full_like(old, value) if isinstance(old, torch.Tensor) else value
