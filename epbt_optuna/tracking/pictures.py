"""What a parent run shows besides numbers: pictures of the lineage, and the schedule as a file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from optuna import Study

from epbt_optuna.lineage import Schedule

__all__ = ["write_artifacts"]

_INCHES = (12.0, 7.0)
_DPI = 120


def write_artifacts(study: Study, folder: Path, *, with_pictures: bool) -> None:
    """Write what can be said of a study so far.

    Args:
        study: A study that a sampler of ours breeds in.
        folder: Where to; gets `schedule.json` and, as `.html` and `.png`, `lineage`,
            `generations`, `schedule` and `loss_functions`. What there is nothing to show of, such
            as a schedule without a best trial, is left out.
        with_pictures: Whether the pictures are wanted.
    """
    with suppress(ValueError):  # no best trial yet
        Schedule.from_study(study).save(folder / "schedule.json")
    if with_pictures:
        from matplotlib.figure import Figure  # with no window, nor pyplot's list of open figures

        for name, plotly, matplotlib in _pictures():
            with suppress(ValueError):
                picture = plotly(study).update_layout(
                    width=None, autosize=True
                )  # as wide as the page
                picture.write_html(folder / f"{name}.html", config={"responsive": True})
                figure = Figure(figsize=_INCHES, layout="constrained")
                matplotlib(study, figure=figure)
                figure.savefig(folder / f"{name}.png", dpi=_DPI)


def _pictures() -> list[tuple[str, Callable[..., Any], Callable[..., Any]]]:
    from epbt_optuna import visualization
    from epbt_optuna.visualization import matplotlib

    return [
        ("lineage", visualization.plot_lineage, matplotlib.plot_lineage),
        ("generations", visualization.plot_generations, matplotlib.plot_generations),
        ("schedule", visualization.plot_schedule, matplotlib.plot_schedule),
        ("loss_functions", visualization.plot_loss_functions, matplotlib.plot_loss_functions),
    ]
