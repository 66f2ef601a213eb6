"""What a trial and a generation look like in MLflow: names, values, times. Nothing is sent here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from posixpath import normpath
from typing import Any, NamedTuple, TypeVar

from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna.lineage import GenerationSummary
from epbt_optuna.population import Generations, Lineage

__all__ = ["Point", "TrialRun", "batches", "generation_run", "milliseconds"]

_FITNESS = "fitness"
_INTERMEDIATE = "intermediate_value"
_STATUSES = {
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "KILLED",
    TrialState.FAIL: "FAILED",
}
"""MLflow's word for each way in which a trial ends."""

# MLflow's limits
_BATCH = 100
_KEY_LENGTH = 250
_PARAM_LENGTH = 6000
_TAG_LENGTH = 8000

_T = TypeVar("_T")


class Point(NamedTuple):
    """One value of a metric, with the time in milliseconds since 1970."""

    key: str
    value: float
    timestamp: int
    step: int


@dataclass(frozen=True)
class TrialRun:
    """A finished trial as a run.

    Attributes:
        trial: The trial.
        generations: The study's arithmetic, if a sampler of ours breeds in it.
    """

    trial: FrozenTrial
    generations: Generations | None

    @property
    def name(self) -> str:
        """The run's name."""
        return f"trial {self.trial.number}"

    @property
    def lineage(self) -> Lineage | None:
        """Where the trial comes from, if a sampler of ours bred it."""
        return Lineage.recorded(self.trial.number, self.trial.system_attrs)

    @property
    def parent(self) -> int | None:
        """Number of the trial whose weights this one inherited."""
        return None if self.lineage is None else self.lineage.parent

    @property
    def status(self) -> str:
        """MLflow's word for how the trial ended."""
        return _STATUSES[self.trial.state]

    @property
    def start(self) -> int:
        """When the trial began, in milliseconds."""
        return milliseconds(self.trial.datetime_start or self.trial.datetime_complete)

    @property
    def end(self) -> int:
        """When the trial ended, in milliseconds."""
        return milliseconds(self.trial.datetime_complete)

    @property
    def params(self) -> dict[str, str]:
        """The hyperparameters."""
        return {
            _valid_key(name): str(value)[:_PARAM_LENGTH]
            for name, value in self.trial.params.items()
        }

    @property
    def tags(self) -> dict[str, str]:
        """Lineage, state, and what the user noted in the trial."""
        lineage, number = self.lineage, self.trial.number
        generation = None if self.generations is None else self.generations.of(number)
        if lineage is not None:
            generation = lineage.generation
        ours = {
            "epbt.trial": number,
            "epbt.generation": generation,
            "epbt.parent_trial": self.parent,
            "epbt.mate_trial": None if lineage is None else lineage.mate,
            "epbt.state": self.trial.state.name,
            "epbt.device": self._noted("device"),
            "epbt.error": self._noted("error") if self.trial.state == TrialState.FAIL else None,
        }
        users = {_tag_key(key): _text(value) for key, value in self.trial.user_attrs.items()}
        return users | {key: _text(value) for key, value in ours.items() if value is not None}

    @property
    def points(self) -> list[Point]:
        """What the trial reported, and its fitness at the last of these steps.

        Optuna keeps no time of a report; they are spread evenly over the trial. So whoever delivers
        a trial, and whenever, sends the very same points.
        """
        reports = sorted(self.trial.intermediate_values.items())
        duration = self.end - self.start
        points = [
            Point(_INTERMEDIATE, value, self.start + duration * i // len(reports), step)
            for i, (step, value) in enumerate(reports, start=1)
        ]
        if self.trial.state == TrialState.COMPLETE:
            last_step = reports[-1][0] if reports else 0
            values = self.trial.values
            names = (
                [_FITNESS] if len(values) == 1 else [f"{_FITNESS}_{i}" for i in range(len(values))]
            )
            points += [
                Point(name, value, self.end, last_step)
                for name, value in zip(names, values, strict=True)
            ]
        return points

    def _noted(self, what: str) -> Any:
        """Return what a parallel run noted about itself, else what the user did."""
        return self.trial.system_attrs.get(f"epbt:{what}", self.trial.user_attrs.get(what))


def generation_run(
    summary: GenerationSummary, best: FrozenTrial | None, end: int
) -> tuple[list[Point], dict[str, str]]:
    """Return what one generation, all of whose trials have finished, adds to the parent run.

    Args:
        summary: The generation in numbers.
        best: The fittest individual alive after it, where the best lineage stands then: its
            hyperparameters are `best.<name>`. Categories, which are no numbers, are tags.
        end: When its last trial ended, in milliseconds.

    Returns:
        The points, with the generation as step; and the tags.
    """
    values: dict[str, float] = {
        "best": summary.best,
        "mean": summary.mean,
        "median": summary.median,
        "worst": summary.worst,
        "diversity": summary.diversity,
        "pruned": summary.n_pruned,
        "failed": summary.n_failed,
        "epochs_trained": summary.n_reports,
    }
    tags: dict[str, str] = {}
    if best is not None:
        tags["epbt.best_trial"] = str(best.number)
        for name, value in best.params.items():
            if isinstance(best.distributions[name], CategoricalDistribution):
                tags[f"epbt.best.{_valid_key(name)}"] = _text(value)
            else:
                values[f"best.{_valid_key(name)}"] = float(value)
    return [Point(key, value, end, summary.generation) for key, value in values.items()], tags


def batches(items: Iterable[_T], size: int = _BATCH) -> Iterator[list[_T]]:
    """Yield lists of at most `size` items, as many as one request may carry."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def milliseconds(moment: datetime | None) -> int:
    """Return a moment of Optuna's, which is local time, as MLflow counts it."""
    return 0 if moment is None else int(moment.timestamp() * 1000)


def _valid_key(name: str) -> str:
    """Return a name as MLflow lets params and metrics have it."""
    key = re.sub(r"[^\w.\- /:]", "_", name)[:_KEY_LENGTH]
    is_path = normpath(key) == key and not key.startswith(("/", "..")) and key != "."
    return key if is_path else key.replace("/", "_").lstrip(".") or "_"


def _tag_key(name: str) -> str:
    """Return the name of a user's tag, away from MLflow's names and ours."""
    key = _valid_key(name)
    return f"user.{key}" if key.startswith(("mlflow.", "epbt.")) else key


def _text(value: Any) -> str:
    """Return a value as the text of a tag."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _TAG_LENGTH else text[: _TAG_LENGTH - 1] + "…"
