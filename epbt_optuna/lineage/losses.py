"""The loss functions along an ancestry, by epoch, for training without Optuna."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna import Study
from optuna.trial import FrozenTrial

from epbt_optuna._internal.extras import needs
from epbt_optuna.lineage.schedule import Schedule

if TYPE_CHECKING:
    from epbt_optuna.losses import TaylorGLOLoss

__all__ = ["loss_schedule", "require_losses"]


def loss_schedule(
    source: Study | Schedule,
    trial: FrozenTrial | int | None = None,
    *,
    prefix: str = "theta_",
    normalize: bool = False,
    reduction: str = "mean",
) -> tuple[TaylorGLOLoss, ...]:
    """Return the TaylorGLO loss for each epoch of a schedule: item e is that of epoch e.

    Epochs of one step share one module. An epoch is one reported value, see `Schedule`.

    Args:
        source: A study that evolved losses with `TaylorGLOLoss.suggest`, or a `Schedule`, which
            can be loaded from a file.
        trial: As for `Schedule.from_study`, with a study.
        prefix: As for `TaylorGLOLoss.suggest`; the study does not record which was used there,
            nor the next two.
        normalize: As for `TaylorGLOLoss`.
        reduction: As for `TaylorGLOLoss`.

    Raises:
        TypeError: `source` is neither a study nor a schedule, or a θ is not a number.
        ValueError: A step of the schedule lacks a θ, or no step reported anything, a trial is
            given with a schedule, or `Schedule.from_study` raises it.
        ImportError: torch is not installed.

    Example:
        ```python
        for loss_fn in loss_schedule(Schedule.load("schedule.json")):
            train_epoch(model, optimizer, loss_fn)
        ```
    """
    schedule = _schedule_of(source, trial)
    require_losses(schedule, prefix)
    schedule.require_epochs()
    with needs("torch", "`loss_schedule`"):
        from epbt_optuna.losses import TaylorGLOLoss

    losses: list[TaylorGLOLoss] = []
    for step in schedule.steps:
        loss_fn = TaylorGLOLoss.from_params(
            step.params, prefix=prefix, normalize=normalize, reduction=reduction
        )
        losses += [loss_fn] * step.n_reports
    return tuple(losses)


def require_losses(schedule: Schedule, prefix: str) -> None:
    """Raise unless every step has a TaylorGLO loss.

    Raises:
        ValueError: A step lacks a θ.
    """
    names = [f"{prefix}{i}" for i in range(8)]
    for step in schedule.steps:
        if missing := [name for name in names if name not in step.params]:
            raise ValueError(
                f"Trial {step.trial} of study {schedule.study_name!r} has no TaylorGLO loss with "
                f"the prefix {prefix!r}: its parameters {sorted(step.params)} lack "
                f"{', '.join(missing)}."
            )


def _schedule_of(source: Study | Schedule, trial: FrozenTrial | int | None) -> Schedule:
    if isinstance(source, Study):
        return Schedule.from_study(source, trial)
    if not isinstance(source, Schedule):
        raise TypeError(f"`source` must be a study or a Schedule but got {source!r}.")
    if trial is not None:
        raise ValueError(f"`trial` is for a study; a schedule has its own, but got {trial!r}.")
    return source
