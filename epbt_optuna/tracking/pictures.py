"""What a parent run shows besides numbers: pictures of the lineage, and the schedule as a file."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from optuna import Study

from epbt_optuna.lineage import Schedule

__all__ = ["write_artifacts"]


def write_artifacts(study: Study, folder: Path, *, with_pictures: bool) -> None:
    """Write `schedule.json` and, if wanted, pictures, each as `.html` and `.png`.

    What there is nothing to show of, such as a schedule without a best trial, is left out.
    """
    with suppress(ValueError):  # no best trial yet
        Schedule.from_study(study).save(folder / "schedule.json")
    if not with_pictures:
        return
    from matplotlib.figure import Figure  # with no window, nor pyplot's list of open figures

    from epbt_optuna import visualization
    from epbt_optuna.visualization import matplotlib

    for name in ("lineage", "generations", "schedule", "loss_functions"):
        with suppress(ValueError):
            picture = getattr(visualization, f"plot_{name}")(study)
            picture.update_layout(width=None, autosize=True)  # as wide as the page
            picture.write_html(folder / f"{name}.html", config={"responsive": True})
            figure = Figure(figsize=(12.0, 7.0), layout="constrained")
            getattr(matplotlib, f"plot_{name}")(study, figure=figure)
            figure.savefig(folder / f"{name}.png", dpi=120)
