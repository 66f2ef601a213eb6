"""What a parent run shows besides numbers: pictures of the lineage, and the schedule as a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna import Study

from epbt_optuna._internal.attrs import AttrError, pass_over
from epbt_optuna.lineage import Schedule
from epbt_optuna.tracking.runs import leave_out

__all__ = ["write_artifacts"]


def write_artifacts(study: Study, folder: Path, *, with_pictures: bool) -> None:
    """Write `schedule.json` and, if wanted, pictures, each as `.html` and `.png`.

    What there is nothing to show of, such as a schedule without a best trial, is left out.
    """
    with _apart("schedule.json"):
        Schedule.from_study(study).save(folder / "schedule.json")
    if not with_pictures:
        return
    from matplotlib.figure import Figure  # with no window, nor pyplot's list of open figures

    from epbt_optuna import visualization
    from epbt_optuna.visualization import matplotlib

    for name in ("lineage", "generations", "schedule", "loss_functions"):
        with _apart(name):
            picture = getattr(visualization, f"plot_{name}")(study)
            picture.update_layout(width=None, autosize=True)  # as wide as the page
            picture.write_html(folder / f"{name}.html", config={"responsive": True})
            figure = Figure(figsize=(12.0, 7.0), layout="constrained")
            getattr(matplotlib, f"plot_{name}")(study, figure=figure)
            figure.savefig(folder / f"{name}.png", dpi=120)


@contextmanager
def _apart(name: str) -> Iterator[None]:
    """Leave out one thing that cannot be shown, and none of the others."""
    try:
        yield
    except (ImportError, OSError):
        raise
    except AttrError as error:
        pass_over(str(error))
    except ValueError:  # there is nothing to show
        pass
    except Exception as error:
        leave_out(name, f"{type(error).__name__}: {error}")
