"""What a trial looks like in MLflow: names, values, times. Nothing is sent here."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from posixpath import normpath
from typing import Any, NamedTuple

from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.attrs import DEVICE, ERROR, Attr, AttrError, pass_over
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.text import get_logger
from epbt_optuna.checkpoints.mixed import Mixed
from epbt_optuna.checkpoints.reports import Report
from epbt_optuna.population import Generations, Lineage

__all__ = [
    "MetricValue",
    "TrialRun",
    "fitted",
    "leave_out",
    "milliseconds",
    "started",
    "text_of",
    "texts",
    "user_key",
    "valid_key",
]

# MLflow's limits
_KEY_LENGTH = 250
_PARAM_LENGTH = 6000
_TAG_LENGTH = 8000
_MOST_STEPS = 2**63  # of 64 bits
_OWN_METRICS = r"intermediate_value|fitness(_\d+)?"
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

    `tags` are ours, which MLflow takes; `notes` are the user's attrs that are no numbers.
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
        reports: Sequence[Report],
        *,
        keeps_case: bool = True,
    ) -> TrialRun:
        """Return a trial's run.

        Args:
            trial: The trial.
            generations: Its study's arithmetic, if it has one.
            identity: Its study's identity.
            reports: What was reported of its network, see `reports_of`.
            keeps_case: Whether MLflow's database tells names apart that differ in case only.
        """
        start = milliseconds(trial.datetime_start or trial.datetime_complete)
        end = milliseconds(trial.datetime_complete)
        name, status = f"trial {trial.number}", _STATUSES[trial.state.name]
        params = texts("param", trial.params, lambda v: text_of(str(v), _PARAM_LENGTH))
        params = {valid_key(k, keeps_case=keeps_case): text for k, text in params.items()}
        said = {k: v for k, v in trial.user_attrs.items() if not _is_number(v)}
        notes = texts("user attr", said, text_of)
        notes = {user_key(k, keeps_case=keeps_case): text for k, text in notes.items()}
        lineage = Lineage.readable(trial.number, trial.system_attrs, identity)
        parent = None if lineage is None else lineage.parent
        tags = _tags(trial, generations, identity, lineage)
        values = _values(trial, reports, start, end, keeps_case=keeps_case)
        return cls(name, status, start, end, parent, params, tags, notes, values)


def started(trial: FrozenTrial) -> str:
    """Return when a trial started, as the study has it: of two branches of a study this differs.

    Not in milliseconds since 1970, which depend on the time zone of who reads the study.
    """
    return "" if trial.datetime_start is None else trial.datetime_start.isoformat()


def texts(what: str, values: Mapping[str, Any], shown: Callable[[Any], str]) -> dict[str, str]:
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
    trial: FrozenTrial,
    generations: Generations | None,
    identity: StudyIdentity,
    lineage: Lineage | None,
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
        "epbt.mate_weight": _mate_weight(trial, identity),
        "epbt.state": trial.state.name,
        "epbt.started": started(trial) or None,
        "epbt.device": noted(DEVICE, "device"),
        "epbt.error": noted(ERROR, "error") if trial.state == TrialState.FAIL else None,
    }
    there = {name: value for name, value in ours.items() if value is not None}
    return texts("tag", there, text_of)


def _mate_weight(trial: FrozenTrial, identity: StudyIdentity) -> float | None:
    """Return the mate's share in the weights that a trial started from, if it gave any."""
    try:
        mixed = Mixed.recorded(trial.number, trial.system_attrs, identity)
    except AttrError as error:
        pass_over(str(error))
        return None
    return None if mixed is None else mixed.weight


def _is_number(value: object) -> bool:
    """Tell whether a metric can hold a user's attr: exactly, and MLflow has no infinity."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= 2**53
    return isinstance(value, float) and math.isfinite(value)


def _values(
    trial: FrozenTrial, reports: Sequence[Report], start: int, end: int, *, keeps_case: bool
) -> list[MetricValue]:
    """Return what the trial reported, and its fitness and numbers noted at the last of the steps.

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
    step = reports[-1][0] if reports else 0
    if trial.state == TrialState.COMPLETE:
        is_single = len(trial.values) == 1
        values += [
            MetricValue("fitness" if is_single else f"fitness_{i}", value, end, step)
            for i, value in enumerate(trial.values)
        ]
    return values + [
        MetricValue(user_key(name, keeps_case=keeps_case), float(value), end, step)
        for name, value in trial.user_attrs.items()
        if _is_number(value)
    ]


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


def user_key(name: str, *, keeps_case: bool = True) -> str:
    """Return the name of a user's tag or metric, away from MLflow's names and ours."""
    is_taken = re.match(rf"(user\.)*(\.*(mlflow|epbt)\.|({_OWN_METRICS})$)", name, re.IGNORECASE)
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
