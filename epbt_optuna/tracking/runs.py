"""What a trial and a generation look like in MLflow: names, values, times. Nothing is sent here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from posixpath import normpath
from typing import Any, NamedTuple

from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.attrs import DEVICE, ERROR, Attr, AttrError, pass_over
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.text import get_logger
from epbt_optuna.checkpoints.reports import Report
from epbt_optuna.lineage import GenerationSummary
from epbt_optuna.population import Generations, Lineage

__all__ = [
    "MetricValue",
    "TrialRun",
    "fitted",
    "generation_run",
    "leave_out",
    "lineage_of",
    "milliseconds",
    "started",
    "text_of",
    "user_tag",
    "valid_key",
]

# MLflow's limits
_KEY_LENGTH = 250
_PARAM_LENGTH = 6000
_TAG_LENGTH = 8000
_MOST_STEPS = 2**63  # of 64 bits
_STATUSES = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


_logger = get_logger("epbt_optuna.tracking")


class MetricValue(NamedTuple):
    """One value of a metric, with the time in milliseconds since 1970."""

    key: str
    value: float
    timestamp: int
    step: int


class TrialRun(NamedTuple):
    """A finished trial as a run, with times in milliseconds since 1970.

    `tags` are ours, which MLflow takes; `notes` are the user's attrs.
    """

    name: str
    status: str
    start: int
    end: int
    parent: int | None
    params: dict[str, str]
    tags: dict[str, str]
    notes: dict[str, str]
    values: list[MetricValue]

    @classmethod
    def of(
        cls,
        trial: FrozenTrial,
        generations: Generations | None,
        identity: StudyIdentity,
        reports: Sequence[Report] | None = None,
        *,
        keeps_case: bool = True,
    ) -> TrialRun:
        """Return a trial's run.

        Args:
            trial: The trial.
            generations: Its study's arithmetic, if it has one.
            identity: Its study's identity.
            reports: What was reported of its network, see `reports_of`. Default: by this trial.
            keeps_case: Whether MLflow's database tells names apart that differ in case only.
        """
        start = milliseconds(trial.datetime_start or trial.datetime_complete)
        end = milliseconds(trial.datetime_complete)
        name, status = f"trial {trial.number}", _STATUSES[trial.state.name]
        params = _texts("param", trial.params, lambda v: text_of(str(v), _PARAM_LENGTH))
        params = {valid_key(k, keeps_case=keeps_case): text for k, text in params.items()}
        notes = _texts("user attr", trial.user_attrs, text_of)
        notes = {user_tag(k, keeps_case=keeps_case): text for k, text in notes.items()}
        lineage = lineage_of(trial, identity)
        parent = None if lineage is None else lineage.parent
        if reports is None:
            reports = [Report(*report) for report in sorted(trial.intermediate_values.items())]
        tags, values = _tags(trial, generations, lineage), _values(trial, reports, start, end)
        return cls(name, status, start, end, parent, params, tags, notes, values)


def lineage_of(trial: FrozenTrial, identity: StudyIdentity) -> Lineage | None:
    """Return where a trial comes from; None, and one line in the log, where that is damaged."""
    try:
        return Lineage.recorded(trial.number, trial.system_attrs, identity)
    except AttrError as error:
        pass_over(str(error))
        return None


def started(trial: FrozenTrial) -> str:
    """Return when a trial started, as the study has it: of two branches of a study this differs.

    Not in milliseconds since 1970, which depend on the time zone of who reads the study.
    """
    return "" if trial.datetime_start is None else trial.datetime_start.isoformat()


def _texts(what: str, values: Mapping[str, Any], shown: Callable[[Any], str]) -> dict[str, str]:
    """Return values as texts, by name, without those that their classes cannot show."""
    texts = {}
    for name, value in values.items():
        try:
            texts[name] = shown(value)
        except Exception as error:  # noqa: PERF203, each by itself is the point
            leave_out(f"{what} {name!r}", type(error).__name__)
    return texts


@lru_cache(maxsize=1024)  # more kinds of that need not be told
def leave_out(what: str, why: str) -> None:
    """Say once that something of a study is not brought to MLflow, while all else is."""
    _logger.warning(
        "MLflow cannot show the %s: %s. It is left out, and all else is there.", what, why
    )


def _tags(
    trial: FrozenTrial, generations: Generations | None, lineage: Lineage | None
) -> dict[str, str]:
    """Return lineage and state."""
    generation = None if generations is None else generations.of(trial.number)

    def noted(attr: Attr, what: str) -> Any:  # by a parallel run, else by the user
        value = None
        try:
            value = attr.of_trial(trial.number, trial.system_attrs)
        except AttrError as error:
            pass_over(str(error))
        return trial.user_attrs.get(what) if value is None else value

    ours = {
        "epbt.trial": trial.number,
        "epbt.generation": generation if lineage is None else lineage.generation,
        "epbt.parent_trial": None if lineage is None else lineage.parent,
        "epbt.mate_trial": None if lineage is None else lineage.mate,
        "epbt.elite": None if lineage is None else lineage.elite or None,
        "epbt.state": trial.state.name,
        "epbt.started": started(trial) or None,
        "epbt.device": noted(DEVICE, "device"),
        "epbt.error": noted(ERROR, "error") if trial.state == TrialState.FAIL else None,
    }
    there = {name: value for name, value in ours.items() if value is not None}
    return _texts("tag", there, text_of)


def _values(
    trial: FrozenTrial, reports: Sequence[Report], start: int, end: int
) -> list[MetricValue]:
    """Return what the trial reported, and its fitness at the last of these steps.

    Optuna keeps no time of a report; they are spread evenly over the trial. So whoever delivers
    a trial, and whenever, sends the very same values.
    """
    for step, _ in reports:
        if not -_MOST_STEPS <= step < _MOST_STEPS:
            leave_out(f"report of trial {trial.number} at step {step}", "steps are of 64 bits")
    reports = [report for report in reports if -_MOST_STEPS <= report[0] < _MOST_STEPS]
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
    summary: GenerationSummary, best: FrozenTrial | None, end: int, *, keeps_case: bool = True
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
            is_category = isinstance(best.distributions[name], CategoricalDistribution)
            key = valid_key(f"{'epbt.' * is_category}best.{name}", keeps_case=keeps_case)
            if is_category:
                tags[key] = text_of(value)
            else:
                values[key] = float(value)
    step = summary.generation
    return [MetricValue(key, value, end, step) for key, value in values.items()], tags


def milliseconds(moment: datetime | None) -> int:
    """Return a moment of Optuna's, which is local time, as MLflow counts it."""
    return 0 if moment is None else int(moment.timestamp() * 1000)


# Names and texts as MLflow takes them, such that no two names become one


def valid_key(name: str, *, keeps_case: bool = True) -> str:
    """Return a name as MLflow lets params, metrics and tags have it.

    A name that must be changed ends in a hash of what it was: `lr(head)` and `lr[head]`, or two
    long names with one beginning, would else be one, and the second would replace the first. So
    does a name that looks as if it did, and where the database ignores case, accents and spaces at
    the end (`keeps_case=False`), a name with any of these.
    """
    key = re.sub(r"[^\w.\- /:]", "_", name)
    if normpath(key) != key or key.startswith(("/", "..")) or key == ".":  # MLflow makes it a path
        key = key.replace("/", "_").lstrip(".")
    is_distinct = keeps_case or (key.isascii() and key == key.lower().rstrip())
    is_itself = key and is_distinct and not re.search("_[0-9a-f]{8}$", key)
    return fitted(name, key, _KEY_LENGTH) if is_itself else _hashed(name, key, _KEY_LENGTH)


def fitted(name: str, shown: str, length: int) -> str:
    """Return `shown`, what may be shown of a name; with a hash where that is not all of it."""
    return name if shown == name and len(name) <= length else _hashed(name, shown, length)


def _hashed(name: str, shown: str, length: int) -> str:
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{shown[: length - 9]}_{digest}"


def user_tag(name: str, *, keeps_case: bool = True) -> str:
    """Return the name of a user's tag, away from MLflow's names and ours."""
    is_taken = re.match(r"(user\.)*\.*(mlflow|epbt)\.", name, re.IGNORECASE)
    return valid_key(f"user.{name}" if is_taken else name, keeps_case=keeps_case)


def text_of(value: Any, length: int = _TAG_LENGTH) -> str:
    """Return a value as a text of at most this length."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, default=str)
    except (TypeError, ValueError):  # keys that are no strings, or it contains itself
        text = str(value)
    # A lone surrogate cannot be sent, and PostgreSQL has no NUL.
    text = text.replace("\0", r"\0").encode(errors="backslashreplace").decode()
    return text if len(text) <= length else text[: length - 1] + "…"
