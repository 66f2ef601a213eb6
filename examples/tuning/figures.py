"""Figures of the page about tuning, as SVG: what arms would choose over time, and schedules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from examples.paper.figures import COLOURS, STYLE, save
from examples.tuning.arms import arms_of
from examples.tuning.results import Result
from examples.tuning.tasks import Task


def draw_incumbents(task: Task, arms: Mapping[str, Sequence[Result]], path: Path) -> None:
    """Draw what each arm would choose, mean over seeds, over steps and over seconds.

    The range is that of the second half: at the start all arms are far below.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 4.6))
        panels = figure.subplots(1, 2, sharey=True)
        for axes, unit in zip(panels, ("n_steps", "seconds"), strict=True):
            for index, (name, results) in enumerate(arms.items()):
                grid, means = mean_curve(results, unit, task.budget)
                # There are more arms than colours that can be told apart.
                style = "-" if index < len(COLOURS) else "--"
                label = arms_of(task.name)[name].description
                colour = COLOURS[index % len(COLOURS)]
                axes.plot(grid, means, style, color=colour, label=label, linewidth=1.2)
            axes.set_xlabel({"n_steps": "steps of all networks", "seconds": "seconds"}[unit])
        late = np.concatenate(
            [mean_curve(r, "n_steps", task.budget)[1][task.budget // 4 :] for r in arms.values()]
        )
        margin = 0.05 * float(np.nanmax(late) - np.nanmin(late)) or 1.0
        panels[0].set_ylim(np.nanmin(late) - margin, np.nanmax(late) + margin)
        panels[0].set_ylabel(task.measure)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        save(figure, path)


def mean_curve(results: Sequence[Result], unit: str, budget: int) -> tuple[Any, Any]:
    """Return steps or seconds, and the mean test of what was chosen by then.

    Over seconds the curve ends with the mean length of a job.
    """
    grid: Any = np.arange(1, budget + 1)
    if unit == "seconds":
        grid = np.linspace(0, float(np.mean([result.seconds for result in results])), 300)
    tests = [[result.test_at(**{unit: float(x)}) for x in grid] for result in results]
    return grid, np.mean(tests, axis=0)


def draw_schedules(task: Task, results: Sequence[Result], path: Path) -> None:
    """Draw the hyperparameters that the choice of each seed was trained with, step by step."""
    n_columns = min(3, len(task.variables))
    n_rows = -(-len(task.variables) // n_columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 2.2 * n_rows))
        panels = figure.subplots(n_rows, n_columns, squeeze=False)
        for axes, variable in zip(panels.flat, task.variables, strict=False):
            for index, result in enumerate(results):
                values = [step[variable.name] for step in result.schedule]
                colour = COLOURS[index % len(COLOURS)]
                axes.step(range(1, len(values) + 1), values, where="mid", color=colour, linewidth=1)
            if variable.log:
                axes.set_yscale("log")
            axes.set_ylim(variable.low, variable.high)
            axes.set_title(variable.name, fontsize=9)
        for axes in list(panels.flat)[len(task.variables) :]:
            axes.set_visible(False)
        figure.supxlabel("steps of the network that was chosen", fontsize=9)
        save(figure, path)
