"""optuna-dashboard: lineage and schedule as pictures, the summary as a note, on a study's page."""

from __future__ import annotations

import re
from collections.abc import Sequence

from optuna import Study

from epbt_optuna._internal.extras import needs
from epbt_optuna._internal.text import printable
from epbt_optuna.lineage.history import History
from epbt_optuna.lineage.overview import GENERATION_COLUMNS, generation_rows, study_rows

__all__ = ["HEADING", "plain", "save_to_dashboard", "study_list"]

_LINEAGE_ID, _SCHEDULE_ID = "epbt-lineage", "epbt-schedule"
HEADING = "## Population"  # of the note; what people write above it stays


def save_to_dashboard(study: Study) -> None:
    """Show the lineage, the schedule of the best and a summary of a study in optuna-dashboard.

    The pictures are under the study's custom plots, the summary is in its note. All are written
    into the study's attributes, so wherever its storage is served they are there. Call it again,
    for example once a generation, and they are replaced; what you wrote into the note yourself,
    above the heading "Population", stays. There is a schedule once there is a best trial.

    Args:
        study: A study that a sampler of ours has bred in.

    Raises:
        ImportError: optuna-dashboard or plotly is not installed.
        ValueError: The study is empty, or no sampler of ours has asked a trial in it.

    Example:
        ```python
        study.optimize(objective, n_trials=520)
        save_to_dashboard(study)
        ```
    """
    with (
        needs("optuna_dashboard", "`save_to_dashboard`", extra="dashboard"),
        needs("plotly", "`save_to_dashboard`", extra="dashboard"),
    ):
        import optuna_dashboard as dashboard
        import plotly  # noqa: F401, the picture needs it as well

    from epbt_optuna.visualization import plot_lineage, plot_schedule

    history = History.of(study)
    own_words = dashboard.get_note(study).partition(HEADING)[0]
    figures = {_LINEAGE_ID: plot_lineage(study)}
    if history.best is not None and history.best.params:
        figures[_SCHEDULE_ID] = plot_schedule(study)
    dashboard.save_note(study, own_words + _note(study))
    for name, figure in figures.items():
        # The page has a frame of its own size for it, with no room beside the picture.
        below = {"orientation": "h", "y": -0.25}
        figure.update_layout(width=None, height=None, autosize=True, legend=below)
        dashboard.save_plotly_graph_object(study, figure, graph_object_id=name)


def _note(study: Study) -> str:
    """Return the summary as Markdown."""
    return "\n\n".join(
        [
            HEADING,
            "\n".join(study_list(study)),
            _markdown_table(GENERATION_COLUMNS, generation_rows(study)),
        ]
    )


def study_list(study: Study) -> list[str]:
    """Return what there is to say of a study as a whole as the items of a list in Markdown."""
    return [f"- {name}: {plain(text)}" for name, text in study_rows(study)]


def _markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["--:"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(text: str) -> str:
    """Return a text, which may have names of the user's, so that Markdown leaves it as it is."""
    return re.sub(r"([\\`*_\[\]<>|$&~])", r"\\\1", printable(text))
