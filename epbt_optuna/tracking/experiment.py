"""A study's runs in one MLflow experiment: found, made and logged to, by `MlflowClient` alone.

MLflow cannot create a run only if it is absent, so the one parent run comes by an election: who
finds none creates a candidate and looks again. Alone, he marks it as elected; otherwise all
candidates but one withdraw. Of two processes at least the later one sees the other's candidate, so
two are never elected.
"""

from __future__ import annotations

import hashlib
import os
import platform
import random
import shlex
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from optuna import Study

from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import read_trial
from epbt_optuna._internal.text import printable, without_passwords
from epbt_optuna.tracking.destination import Destination
from epbt_optuna.tracking.runs import (
    MetricValue,
    TrialRun,
    fitted,
    leave_out,
    milliseconds,
    text_of,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

__all__ = ["Experiment", "TrackingError", "batches", "page_of"]

_CANDIDATE_SECONDS = 30.0  # after which whoever made a candidate must have died
_NAME_LENGTH = 250  # of an experiment and a run, which PostgreSQL holds to
_OF_ONE_THING = ("BAD_REQUEST", "INVALID_PARAMETER_VALUE")  # MLflow's codes for what it never takes
_METRICS, _OTHERS = 800, 100  # a request carries 1000 things, of which 100 params and 100 tags

_T = TypeVar("_T")


class TrackingError(RuntimeError):
    """Something could not be brought to MLflow; the message says what, why and what to do."""


class Experiment:
    """Finds or makes the experiment and the parent run.

    Attributes:
        client: The client.
        id: The experiment's id.
        identity: The study's, with a token of its own.
        parent: The parent run's id.
        key: The study's key in all its runs.
        keeps_case: Whether names that differ in case only are two there.
    """

    def __init__(self, study: Study, destination: Destination) -> None:
        self._study = study
        name = destination.experiment or study.study_name or "a study"
        self._name = fitted(name, printable(name), _NAME_LENGTH)
        with destination.opened() as client:
            self.client: MlflowClient = client
            self.id = self._open(destination.artifacts_beside(client))
        self.identity = StudyIdentity.drawn(study, len(study.get_trials(deepcopy=False)))
        self.parent, self.key = self._elect()
        # The parent run has this tag in small letters. MySQL and SQL Server find it all the same.
        in_capitals = self._search(f"tags.`EPBT.STUDY` = '{self.key}'")
        self.keeps_case = next(in_capitals, None) is None

    @property
    def address(self) -> str:
        """Where a browser, or a person, finds the parent run."""
        uri = without_passwords(str(self.client.tracking_uri))
        if uri.startswith("http"):
            return f"{uri.rstrip('/')}/#{page_of(self.id, self.parent)}"
        ui = f"`mlflow ui --backend-store-uri {shlex.quote(uri)}`"
        return f"{ui}, experiment {self.id}, run {self.parent}"

    def answers(self) -> bool:
        """Tell whether the server does what it surely can."""
        try:
            self.client.get_run(self.parent)
        except Exception:
            return False
        return True

    def _open(self, artifacts: str | None) -> str:
        with suppress(Exception):  # it is there, or another process is faster
            return str(self.client.create_experiment(self._name, artifacts))
        experiment = self.client.get_experiment_by_name(self._name)
        if experiment is None:
            return str(self.client.create_experiment(self._name, artifacts))
        if experiment.lifecycle_stage != "active":
            raise TrackingError(
                f"The MLflow experiment {self._name!r} was deleted. Restore it (`mlflow "
                f"experiments restore --experiment-id {experiment.experiment_id}`), or pass "
                "another name as `experiment`."
            )
        return str(experiment.experiment_id)

    def _elect(self) -> tuple[str, str]:
        """Return the one parent run and its key, after an election if there is none (see above)."""
        keys = self._keys()
        patience = time.monotonic() + _CANDIDATE_SECONDS
        while True:
            candidates: dict[str, dict[str, str]] = {}
            for key in keys:
                runs = self._search(f"tags.`epbt.study` = '{key}' and tags.`epbt.role` = 'study'")
                candidates |= {str(run.info.run_id): run.data.tags for run in runs}
            elected = [id_ for id_, tags in sorted(candidates.items()) if "epbt.elected" in tags]
            # By its tag: the request that made it may have failed after it was obeyed.
            mine = (id_ for id_, tags in candidates.items() if tags.get("epbt.candidate") == _me())
            own = min(mine, default="")
            others = sorted(candidates.keys() - {own})
            if own and not others and not elected:
                self.client.set_tag(own, "epbt.elected", "true")
                return own, keys[0]
            if own and own not in elected and (elected or own > min(others, default=own)):
                self.withdraw(own)
            if elected:
                return elected[0], candidates[elected[0]]["epbt.study"]
            if not candidates:
                self._create_candidate(keys[0])
                continue
            if time.monotonic() > patience:
                for run_id in others:
                    self.withdraw(run_id)
            time.sleep(random.uniform(0.1, 0.3))

    def _keys(self) -> tuple[str, ...]:
        """Return by which keys the study's parent run may be found; a new one is made by the first.

        They are its tokens and, unless it is a copy of another study, the key that version 0.1 made
        of its name and its first trial.
        """
        first = read_trial(self._study, 0)
        if self.identity.lent or first is None or first.datetime_start is None:
            return self.identity.own
        text = f"{self._study.study_name}\n{first.datetime_start}".encode(errors="surrogatepass")
        return (*self.identity.own, hashlib.sha256(text).hexdigest()[:16])

    def _create_candidate(self, key: str) -> None:
        first = read_trial(self._study, 0)
        start = milliseconds(None if first is None else first.datetime_start or datetime.now())
        name = self._study.study_name
        tags = {
            "epbt.role": "study",
            "epbt.candidate": _me(),
            "epbt.study": key,
            "epbt.study_name": text_of(name),
            "epbt.direction": ", ".join(d.name.lower() for d in self._study.directions),
        }
        name = fitted(name, printable(name), _NAME_LENGTH)
        self.client.create_run(self.id, start, tags, name)

    def create_child(self, content: TrialRun, parent_run_id: str | None) -> str:
        """Create a trial's run, with our tags, and return its id.

        `parent_run_id` is the run of the trial whose weights it inherited, if it is there.
        """
        tags = content.tags | {"mlflow.parentRunId": self.parent, "epbt.role": "trial"}
        tags["epbt.study"] = self.key
        if parent_run_id is not None:
            tags["epbt.parent_run_id"] = parent_run_id
        return str(self.client.create_run(self.id, content.start, tags, content.name).info.run_id)

    def log(
        self,
        run_id: str,
        values: Iterable[MetricValue] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log in as few requests as MLflow's limits allow."""
        from mlflow.entities import Metric, Param, RunTag

        batched: tuple[Iterator[list[Any]], ...] = (
            batches((Metric(*value) for value in values), _METRICS),
            batches((Param(*item) for item in (params or {}).items()), _OTHERS),
            batches((RunTag(*item) for item in (tags or {}).items()), _OTHERS),
        )
        while any(request := [next(batch, []) for batch in batched]):
            self._log_batch(run_id, request)

    def _log_batch(self, run_id: str, request: list[list[Any]]) -> None:
        """Log metrics, params and tags; where MLflow refuses them, all those that it does not."""
        try:
            metrics, params, tags = request
            self.client.log_batch(run_id, metrics, params, tags, synchronous=True)
        except Exception as error:
            things = [(kind, thing) for kind, some in enumerate(request) for thing in some]
            is_about_one = getattr(error, "error_code", None) in _OF_ONE_THING
            run = self.client.get_run(run_id) if is_about_one else None
            if run is None or run.info.lifecycle_stage != "active":
                raise
            if len(things) == 1:
                kind, thing = things[0]
                if kind == 1 and thing.key in run.data.params:
                    return  # another process was faster, and params cannot be changed
                leave_out(f"{('metric', 'param', 'tag')[kind]} {thing.key!r}", str(error)[:300])
                return
            for part in things[: len(things) // 2], things[len(things) // 2 :]:
                halves = [[thing for k, thing in part if k == kind] for kind in range(3)]
                self._log_batch(run_id, halves)

    def history(self, run_id: str, keys: Iterable[str]) -> Iterator[Metric]:
        """Yield all that was logged of some metrics."""
        for key in keys:
            yield from self.client.get_metric_history(run_id, key)

    def children(self, number: int | None = None) -> Iterator[Run]:
        """Yield the runs of all trials, or those of one."""
        condition = f"tags.`epbt.study` = '{self.key}' and tags.`epbt.role` = 'trial'"
        if number is not None:
            condition += f" and tags.`epbt.trial` = '{number}'"
        return self._search(condition)

    def _search(self, condition: str) -> Iterator[Run]:
        """Yield runs, page by page: all at a time could be more than there is memory."""
        token: str | None = None
        while True:
            page = self.client.search_runs([self.id], condition, max_results=500, page_token=token)
            yield from page
            if not (token := page.token):
                return

    def withdraw(self, run_id: str) -> None:
        """Delete a run, if it is there."""
        with suppress(Exception):  # whoever sees that it is not needed may delete it
            self.client.delete_run(run_id)


def _me() -> str:
    """Return who tries to deliver, however often: a thread that delivers one study."""
    return f"{platform.node()} {os.getpid()} {threading.get_ident()}"


def batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Yield lists of at most `size` items, as many as one request may carry."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def page_of(experiment: str, run_id: str) -> str:
    """Return the page of a run in MLflow 3, where it is among runs and not among GenAI's traces."""
    return f"/experiments/{experiment}/runs/{run_id}?workflowType=machine_learning"
