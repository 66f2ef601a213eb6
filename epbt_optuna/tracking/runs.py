"""What a trial and a generation look like in MLflow: names, values, times. Nothing is sent here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from datetime import datetime
from posixpath import normpath
from typing import Any, NamedTuple

from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.attrs import DEVICE, ERROR, Attr
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna.checkpoints.reports import Report
from epbt_optuna.lineage import GenerationSummary
from epbt_optuna.population import Generations, Lineage

__all__ = [
    "MetricValue",
    "TrialRun",
    "generation_run",
    "milliseconds",
    "text_of",
    "user_tag",
    "valid_key",
]

# MLflow's limits
_KEY_LENGTH = 250
_PARAM_LENGTH = 6000
_TAG_LENGTH = 8000
_STATUSES = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


class MetricValue(NamedTuple):
    """One value of a metric, with the time in milliseconds since 1970."""

    key: str
    value: float
    timestamp: int
    step: int


class TrialRun(NamedTuple):
    """A finished trial as a run, with times in milliseconds since 1970."""

    name: str
    status: str
    start: int
    end: int
    parent: int | None
    params: dict[str, str]
    tags: dict[str, str]
    values: list[MetricValue]

    @classmethod
    def of(
        cls,
        trial: FrozenTrial,
        generations: Generations | None,
        identity: StudyIdentity,
        reports: Sequence[Report] | None = None,
    ) -> TrialRun:
        """Return a trial's run.

        Args:
            trial: The trial.
            generations: Its study's arithmetic, if it has one.
            identity: Its study's identity.
            reports: What was reported of its network, see `reports_of`. Default: by this trial.
        """
        start = milliseconds(trial.datetime_start or trial.datetime_complete)
        end = milliseconds(trial.datetime_complete)
        name, status = f"trial {trial.number}", _STATUSES[trial.state.name]
        params = {valid_key(k): text_of(str(v), _PARAM_LENGTH) for k, v in trial.params.items()}
        lineage = Lineage.recorded(trial.number, trial.system_attrs, identity)
        parent = None if lineage is None else lineage.parent
        if reports is None:
            reports = [Report(*report) for report in sorted(trial.intermediate_values.items())]
        tags, values = _tags(trial, generations, lineage), _values(trial, reports, start, end)
        return cls(name, status, start, end, parent, params, tags, values)


def _tags(
    trial: FrozenTrial, generations: Generations | None, lineage: Lineage | None
) -> dict[str, str]:
    """Return lineage, state, and what the user noted in the trial."""
    generation = None if generations is None else generations.of(trial.number)

    def noted(attr: Attr, what: str) -> Any:  # by a parallel run, else by the user
        value = attr.of_trial(trial.number, trial.system_attrs)
        return trial.user_attrs.get(what) if value is None else value

    ours = {
        "epbt.trial": trial.number,
        "epbt.generation": generation if lineage is None else lineage.generation,
        "epbt.parent_trial": None if lineage is None else lineage.parent,
        "epbt.mate_trial": None if lineage is None else lineage.mate,
        "epbt.state": trial.state.name,
        "epbt.device": noted(DEVICE, "device"),
        "epbt.error": noted(ERROR, "error") if trial.state == TrialState.FAIL else None,
    }
    users = {user_tag(key): text_of(value) for key, value in trial.user_attrs.items()}
    return users | {key: text_of(value) for key, value in ours.items() if value is not None}


def _values(
    trial: FrozenTrial, reports: Sequence[Report], start: int, end: int
) -> list[MetricValue]:
    """Return what the trial reported, and its fitness at the last of these steps.

    Optuna keeps no time of a report; they are spread evenly over the trial. So whoever delivers
    a trial, and whenever, sends the very same values.
    """
    values = [
        MetricValue("intermediate_value", value, start + (end - start) * i // len(reports), step)
        for i, (step, value) in enumerate(reports, start=1)
    ]
    if trial.state == TrialState.COMPLETE:
        step = reports[-1][0] if reports else 0
        is_single = len(trial.values) == 1
        values += [
            MetricValue("fitness" if is_single else f"fitness_{i}", value, end, step)
            for i, value in enumerate(trial.values)
        ]
    return values


def generation_run(
    summary: GenerationSummary, best: FrozenTrial | None, end: int
) -> tuple[list[MetricValue], dict[str, str]]:
    """Return what a generation, whose last trial ended then, adds to the parent run.

    The hyperparameters of `best`, the fittest individual alive after it, are `best.<name>`;
    categories, which are no numbers, are tags.
    """
    names = ("best", "mean", "median", "worst", "diversity")
    values: dict[str, float] = {name: getattr(summary, name) for name in names}
    values |= {"pruned": summary.n_pruned, "failed": summary.n_failed}
    values["epochs_trained"] = summary.n_reports
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


# Names and texts as MLflow takes them, such that no two names become one


def valid_key(name: str) -> str:
    """Return a name as MLflow lets params, metrics and tags have it.

    A name that must be changed ends in a hash of what it was: `lr(head)` and `lr[head]`, or two
    long names with one beginning, would else be one, and the second would replace the first.
    """
    key = re.sub(r"[^\w.\- /:]", "_", name)
    if normpath(key) != key or key.startswith(("/", "..")) or key == ".":  # MLflow makes it a path
        key = key.replace("/", "_").lstrip(".")
    if key == name and len(key) <= _KEY_LENGTH:
        return key
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{key[: _KEY_LENGTH - 9]}_{digest}"


def user_tag(name: str) -> str:
    """Return the name of a user's tag, away from MLflow's names and ours."""
    is_taken = name.removeprefix("user.").startswith(("mlflow.", "epbt."))
    return valid_key(f"user.{name}" if is_taken else name)


def text_of(value: Any, length: int = _TAG_LENGTH) -> str:
    """Return a value as a text of at most this length."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, default=str)
    except (TypeError, ValueError):  # keys that are no strings, or it contains itself
        text = str(value)
    text = text.encode(errors="replace").decode()  # a lone surrogate cannot be sent
    return text if len(text) <= length else text[: length - 1] + "…"
