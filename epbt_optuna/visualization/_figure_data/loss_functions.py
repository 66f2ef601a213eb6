"""What `plot_loss_functions` shows: TaylorGLO losses along ancestries, as in figure 5."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from epbt_optuna._internal.extras import needs
from epbt_optuna.lineage import Schedule, ScheduleStep
from epbt_optuna.lineage.losses import require_losses
from epbt_optuna.lineage.times import training_times
from epbt_optuna.visualization._figure_data.schedule import ScheduleSource, schedule_of

__all__ = ["LossCurve", "LossFunctionsInfo", "LossPanel", "loss_functions_info"]

_N_POINTS = 201


class LossCurve(NamedTuple):
    """The loss of one trial of an ancestry.

    Attributes:
        trial: The trial's number.
        generation: Its generation.
        time: When this loss took over, as in `plot_schedule`.
        losses: The loss at each y, less the loss at y = 1; or from 0 to 1 if scaled.
    """

    trial: int
    generation: int
    time: float
    losses: list[float]


class LossPanel(NamedTuple):
    """One run: its losses, the earliest first."""

    name: str
    curves: list[LossCurve]


class LossFunctionsInfo(NamedTuple):
    """Everything that `plot_loss_functions` draws.

    Attributes:
        y: The true class's probability in a problem of two classes, from 0 to 1.
        panels: One for each run.
        cross_entropy: −log y at each y; None at y = 0, where it is infinite.
        last_time: The greatest time of any curve, the light end of the colours.
        time_name: What the times are.
        loss_name: What the losses are.
    """

    y: list[float]
    panels: list[LossPanel]
    cross_entropy: list[float | None]
    last_time: float
    time_name: str
    loss_name: str

    def position(self, curve: LossCurve) -> float:
        """Return where a curve is between the earliest, 0, and the latest, 1."""
        return curve.time / self.last_time if self.last_time else 0.0


def loss_functions_info(
    source: ScheduleSource | Mapping[str, ScheduleSource], prefix: str, *, scaled: bool
) -> LossFunctionsInfo:
    """Read the losses along the ancestries; see `plot_loss_functions` for the arguments.

    Raises:
        TypeError: A source is neither a study nor a schedule.
        ValueError: There is none, one has no ancestry, or a trial has no TaylorGLO loss.
    """
    if isinstance(source, Mapping):
        schedules = {name: schedule_of(one) for name, one in source.items()}
    else:
        schedule = schedule_of(source)
        schedules = {schedule.study_name: schedule}
    if not schedules:
        raise ValueError("`source` must name at least one study or schedule but is empty.")
    y = [i / (_N_POINTS - 1) for i in range(_N_POINTS)]
    panels = [_panel(name, schedule, y, prefix, scaled) for name, schedule in schedules.items()]
    return LossFunctionsInfo(
        y=y,
        panels=panels,
        cross_entropy=[None if value == 0 else -math.log(value) for value in y],
        last_time=max(curve.time for panel in panels for curve in panel.curves),
        time_name=training_times(next(iter(schedules.values()))).name,
        loss_name="loss, scaled to [0, 1]" if scaled else "loss, less the loss at y = 1",
    )


def _panel(name: str, schedule: Schedule, y: list[float], prefix: str, scaled: bool) -> LossPanel:
    require_losses(schedule, prefix)  # without one there is nothing to show, with torch or not
    starts, _ = training_times(schedule)
    curves = []
    for step, start in zip(schedule.steps, starts[:-1], strict=True):
        losses = _losses(schedule, step, y, prefix)
        losses = _scaled(losses) if scaled else [loss - losses[-1] for loss in losses]
        curves.append(LossCurve(step.trial, step.generation, start, losses))
    return LossPanel(name, curves)


def _scaled(losses: list[float]) -> list[float]:
    """Return losses from 0 to 1; all 0 where they are constant."""
    low, width = min(losses), max(losses) - min(losses)
    return [(loss - low) / width if width else 0.0 for loss in losses]


def _losses(schedule: Schedule, step: ScheduleStep, y: list[float], prefix: str) -> list[float]:
    """Compute equation (1) for two classes with outputs y and 1 − y, the first one true."""
    with needs("torch", "`plot_loss_functions`"):
        import torch

        from epbt_optuna.losses import TaylorGLOLoss

    try:
        loss_fn = TaylorGLOLoss.from_params(step.params, prefix=prefix, reduction="none")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Trial {step.trial} of study {schedule.study_name!r} has no TaylorGLO loss: {error}"
        ) from error
    outputs = torch.tensor([[value, 1 - value] for value in y], dtype=torch.float64)
    losses: list[float] = loss_fn(outputs.log(), torch.zeros(len(y), dtype=torch.long)).tolist()
    return losses
