"""A scheduler goes on from the step that its parent's reached, with this trial's values."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING, Any

from epbt_optuna._internal.checks import check_integer, check_state_dict
from epbt_optuna._internal.extras import needs

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

__all__ = ["restore_scheduler"]

# What ReduceLROnPlateau has seen so far; the rest of its state are its settings.
_PLATEAU_PROGRESS = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")


def restore_scheduler(
    scheduler: LRScheduler, n_steps: int, state: Mapping[str, Any] | None = None
) -> None:
    """Take a scheduler that was just built to the step that its parent's has reached.

    The steps are taken again, on this trial's values, so the rate (and the momentum, where a
    scheduler cycles it) is exactly that of a run with these values from the first step on. Neither
    the parent's state nor a multiple of its rate gives that: the state brings the parent's `gamma`
    and base rates, and a floor such as `eta_min` does not scale. 10,000 steps take
    about 0.2 s, and 2 s where rates are tensors.

    The order: build the optimizer with this trial's values, `restore_optimizer`, build the
    scheduler, `restore_scheduler`. Several schedulers are built and restored in the order in which
    a run from the beginning builds and steps them.

    `ReduceLROnPlateau` follows what it has seen, which cannot be taken again. It goes on from its
    parent's `state`: best value, epochs without improvement, and the reductions so far, by which
    this trial's rate is multiplied, down to its own `min_lr`. A state of torch's does not hold the
    rate that was reduced, so call this in founders too: `restore_scheduler(scheduler, 0)` notes it
    in the scheduler, as `epbt_initial_lrs`, from where `scheduler.state_dict()` takes it along.

    Args:
        scheduler: The scheduler, just built. Of `torch.optim.lr_scheduler` or of a subclass.
        n_steps: How often `scheduler.step()` has been called in the trial's ancestry: epochs, or
            batches where it is stepped at each. 0 in a founder.
        state: The parent's `scheduler.state_dict()`. `ReduceLROnPlateau` needs it; of others it is
            only compared: its `last_epoch` must be `n_steps`.

    Raises:
        TypeError: `scheduler` is not one of torch's, `n_steps` not an integer, or `state` not a
            scheduler's.
        ValueError: `scheduler` has been stepped already, `n_steps` is negative or more than the
            scheduler has steps (`OneCycleLR`), or `state` does not fit.
    """
    with needs("torch", "`restore_scheduler`"):
        from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

    if not isinstance(scheduler, LRScheduler):
        raise TypeError(
            "`scheduler` must be of `torch.optim.lr_scheduler` but got "
            f"{type(scheduler).__name__}: of one that wraps another, pass that."
        )
    check_integer("n_steps", n_steps, at_least=0)
    if (n_before := _steps_taken(scheduler)) != 0:
        raise ValueError(f"`scheduler` must be just built but has taken {n_before} steps.")
    if state is not None:
        check_state_dict(state, "a scheduler's", {"_last_lr"})
        if (n_parents := state.get("last_epoch", n_steps)) != n_steps:
            raise ValueError(
                f"`n_steps` must be the steps that the parent's scheduler has taken, {n_parents}, "
                f"but got {n_steps}."
            )
    if isinstance(scheduler, ReduceLROnPlateau):
        _go_on(scheduler, n_steps, state)
    elif n_steps > 0:
        _step(scheduler, n_steps)


def _steps_taken(scheduler: LRScheduler) -> int:
    """Return how many steps a scheduler has taken; a chained one does not say, but its parts do."""
    while "last_epoch" not in vars(scheduler) and "_schedulers" in vars(scheduler):
        scheduler = vars(scheduler)["_schedulers"][0]
    return int(getattr(scheduler, "last_epoch", 0))


def _step(scheduler: LRScheduler, n_steps: int) -> None:
    """Take the steps again."""
    # The parent's optimizer did step before each of these. Without this, the first would warn that
    # none has; a filter for the warning would be shared by all threads.
    scheduler.optimizer._opt_called = True  # type: ignore[attr-defined]
    try:
        for _ in range(n_steps):
            scheduler.step()
    except ValueError as error:  # OneCycleLR's, past its last
        raise ValueError(
            f"`n_steps` must be at most what the {type(scheduler).__name__} has but got "
            f"{n_steps}: {error}"
        ) from error


def _go_on(scheduler: ReduceLROnPlateau, n_steps: int, state: Mapping[str, Any] | None) -> None:
    """Take over what the parent's scheduler has seen, and its reductions."""
    groups = scheduler.optimizer.param_groups
    # Where another scheduler, such as a warm-up, shares the optimizer, the rate is its start's.
    initial = [float(group.get("initial_lr", group["lr"])) for group in groups]
    if state is not None:
        reductions = _reductions(scheduler, state)
        for key in _PLATEAU_PROGRESS:
            setattr(scheduler, key, state[key])
        for group, start, reduction, floor in zip(
            groups, initial, reductions, scheduler.min_lrs, strict=True
        ):
            _set_lr(group, min(start, max(start * reduction, floor)))
        vars(scheduler)["_last_lr"] = [copy(group["lr"]) for group in groups]
    elif n_steps > 0:
        raise ValueError(
            "`state` must be the parent's `scheduler.state_dict()` for a ReduceLROnPlateau, which "
            "follows what it has seen, but got None."
        )
    vars(scheduler)["epbt_initial_lrs"] = initial


def _reductions(scheduler: ReduceLROnPlateau, state: Mapping[str, Any]) -> list[float]:
    """Return, for each group, the share of its first rate that the parent's scheduler has left."""
    if missing := {*_PLATEAU_PROGRESS, "mode"} - state.keys():
        raise ValueError(
            f"`state` must be a ReduceLROnPlateau's but lacks {sorted(missing)}. Where the parent "
            "had another scheduler, `restore_scheduler(scheduler, 0)` begins at this trial's rate."
        )
    if (starts := state.get("epbt_initial_lrs")) is None:
        raise ValueError(
            "`state` must hold `epbt_initial_lrs`, the rates that the parent's ReduceLROnPlateau "
            "began with, one for each group: call `restore_scheduler(scheduler, 0)` in founders."
        )
    if state["mode"] != scheduler.mode:
        raise ValueError(
            f"`state` must have the scheduler's mode, {scheduler.mode!r}, but got "
            f"{state['mode']!r}."
        )
    n_groups = len(scheduler.optimizer.param_groups)
    if len(starts) != n_groups or len(state["_last_lr"]) != n_groups:
        raise ValueError(
            f"`state` must be for the optimizer's {n_groups} parameter groups but is for "
            f"{len(starts)}."
        )
    rates = zip(state["_last_lr"], starts, strict=True)
    return [float(lr) / start if start else 1.0 for lr, start in rates]


def _set_lr(group: dict[str, Any], lr: float) -> None:
    """Set a rate; a tensor (of a compiled optimizer) goes on being the same one."""
    if hasattr(group["lr"], "fill_"):
        group["lr"].fill_(lr)
    else:
        group["lr"] = lr
