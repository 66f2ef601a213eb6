"""`epbt plot`: a picture of a study, by plotly or matplotlib as the file's name says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from optuna import Study

__all__ = ["check_suffix", "draw"]

_FUNCTIONS = {
    "lineage": "plot_lineage",
    "generations": "plot_generations",
    "schedule": "plot_schedule",
    "losses": "plot_loss_functions",
}
_STILL = (".png", ".svg", ".pdf")


def check_suffix(out: Path) -> None:
    """Raise if the file's name does not end in a format that can be written.

    Raises:
        click.BadParameter: It does not.
    """
    if out.suffix.lower() not in (".html", *_STILL):
        raise click.BadParameter(
            f"{out} must end in .html, {', '.join(_STILL[:-1])} or {_STILL[-1]}.",
            param_hint="'--out'",
        )


def draw(what: str, study: Study, out: Path, color_by: str) -> Iterator[Path]:
    """Draw one of the pictures, or all that the study has, and yield each file once it is there.

    Args:
        what: `"lineage"`, `"generations"`, `"schedule"`, `"losses"`, or `"all"`: those of losses
            are left out where none evolved.
        study: The study.
        out: The file; of all, its name goes on with `-lineage` and so on.
        color_by: What the colours of the lineage say.

    Raises:
        ImportError: The plotting package is not installed.
        OSError: The file cannot be written.
        ValueError: There is nothing to draw in the study.
    """
    if what != "all":
        _draw(what, study, out, color_by)
        yield out
        return
    has_losses = any("theta_0" in trial.params for trial in study.get_trials(deepcopy=False))
    for one in _FUNCTIONS:
        if one != "losses" or has_losses:
            yield from draw(one, study, out.with_stem(f"{out.stem}-{one}"), color_by)


def _draw(what: str, study: Study, out: Path, color_by: str) -> None:
    options = {"color_by": color_by} if what == "lineage" else {}
    if out.suffix.lower() == ".html":
        from epbt_optuna import visualization

        getattr(visualization, _FUNCTIONS[what])(study, **options).write_html(out)
        return
    os.environ.setdefault("MPLBACKEND", "agg")  # no window is wanted
    from epbt_optuna.visualization import matplotlib

    axes = getattr(matplotlib, _FUNCTIONS[what])(study, **options)
    figure = np.ravel(axes)[0].figure
    figure.savefig(out, dpi=150, bbox_inches="tight")
