"""What a trial and a generation look like in MLflow: names, values, times. Nothing is sent here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna.lineage import GenerationSummary
from epbt_optuna.population import Generations, Lineage
from epbt_optuna.tracking.names import text_of, user_tag, valid_key

__all__ = ["MetricValue", "TrialRun", "generation_run", "milliseconds"]

_FITNESS = "fitness"
_INTERMEDIATE = "intermediate_value"
_STATUSES = {
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "KILLED",
    TrialState.FAIL: "FAILED",
}
"""MLflow's word for each way in which a trial ends."""

_PARAM_LENGTH = 6000  # MLflow's limit


class MetricValue(NamedTuple):
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
            valid_key(name): text_of(str(value), _PARAM_LENGTH)
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
        users = {user_tag(key): text_of(value) for key, value in self.trial.user_attrs.items()}
        return users | {key: text_of(value) for key, value in ours.items() if value is not None}

    @property
    def values(self) -> list[MetricValue]:
        """What the trial reported, and its fitness at the last of these steps.

        Optuna keeps no time of a report; they are spread evenly over the trial. So whoever delivers
        a trial, and whenever, sends the very same values.
        """
        reports = sorted(self.trial.intermediate_values.items())
        duration = self.end - self.start
        reported = [
            MetricValue(_INTERMEDIATE, value, self.start + duration * i // len(reports), step)
            for i, (step, value) in enumerate(reports, start=1)
        ]
        if self.trial.state == TrialState.COMPLETE:
            last_step = reports[-1][0] if reports else 0
            values = self.trial.values
            names = (
                [_FITNESS] if len(values) == 1 else [f"{_FITNESS}_{i}" for i in range(len(values))]
            )
            reported += [
                MetricValue(name, value, self.end, last_step)
                for name, value in zip(names, values, strict=True)
            ]
        return reported

    def _noted(self, what: str) -> Any:
        """Return what a parallel run noted about itself, else what the user did."""
        return self.trial.system_attrs.get(f"epbt:{what}", self.trial.user_attrs.get(what))


def generation_run(
    summary: GenerationSummary, best: FrozenTrial | None, end: int
) -> tuple[list[MetricValue], dict[str, str]]:
    """Return what one generation, all of whose trials have finished, adds to the parent run.

    Args:
        summary: The generation in numbers.
        best: The fittest individual alive after it, where the best lineage stands then: its
            hyperparameters are `best.<name>`. Categories, which are no numbers, are tags.
        end: When its last trial ended, in milliseconds.

    Returns:
        The values, with the generation as step; and the tags.
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
                tags[valid_key(f"epbt.best.{name}")] = text_of(value)
            else:
                values[valid_key(f"best.{name}")] = float(value)
    step = summary.generation
    return [MetricValue(key, value, end, step) for key, value in values.items()], tags


def milliseconds(moment: datetime | None) -> int:
    """Return a moment of Optuna's, which is local time, as MLflow counts it."""
    return 0 if moment is None else int(moment.timestamp() * 1000)
