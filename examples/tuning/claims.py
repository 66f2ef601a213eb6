"""The aims that were set before the runs, each judged by its interval, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from examples.paper.plan import N_SEEDS
from examples.paper.statistics import compare
from examples.tuning.arms import ARMS
from examples.tuning.results import Result
from examples.tuning.tasks import Task

AIMS = {
    "cnn": {"random": "ahead of", "tpe-hyperband": "ahead of", "random-cosine": "not behind"},
}
"""Where the task's first arm was to stand at equal steps, by task and rival."""


def claims(task: Task, arms: Mapping[str, Sequence[Result]]) -> str:
    """Return a line for each aim of a task; nothing where it has none."""
    first = next(iter(ARMS[task.name]))
    lines = []
    for rival, aim in AIMS.get(task.name, {}).items():
        said = "not run"
        if first in arms and rival in arms:
            found = compare(by_seed(arms[first]), by_seed(arms[rival]), f"{first!r} and {rival!r}")
            is_reached = found.verdict == "wins" or (aim != "ahead of" and found.verdict == "ties")
            judged = "reached" if is_reached else "missed"
            if found.n < N_SEEDS:
                judged = f"over {found.n} seeds, not judged before {N_SEEDS}"
            said = f"{found}, {judged}"
        lines.append(f"- `{first}` {aim} `{rival}`: {said}")
    return "\n".join(lines)


def by_seed(results: Sequence[Result]) -> dict[int, float]:
    """Return what the arm's choice measures, by seed."""
    return {result.seed: result.test for result in results}


def missing(task: Task, arms: Mapping[str, Sequence[Result]]) -> str:
    """Say which arms have fewer than ten seeds; nothing where none has."""
    few = {name: len(arms.get(name, ())) for name in ARMS[task.name]}
    few = {name: n for name, n in few.items() if n < N_SEEDS}
    if not few:
        return ""
    said = ", ".join(f"`{name}` {n}" for name, n in few.items())
    return f"Of {N_SEEDS} seeds these arms have fewer so far: {said}."
