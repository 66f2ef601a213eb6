"""A study's runs in one MLflow experiment: found, made and logged to, by `MlflowClient` alone.

Nothing here knows Optuna. MLflow cannot create a run only if it is absent, so the one parent run
comes by an election: who finds none creates a candidate and looks again. Alone, he marks it as
elected; otherwise all candidates but one withdraw. Of two processes at least the later one sees the
other's candidate, so two are never elected.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from epbt_optuna.tracking._courier import TrackingError
from epbt_optuna.tracking._runs import Point, TrialRun, batches
from epbt_optuna.tracking._spool import Address

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

__all__ = ["Experiment"]

_CANDIDATE_SECONDS = 30.0  # after which whoever made a candidate must have died
_METRICS = 900  # a request; MLflow allows 1000 of metrics, params and tags together
_PAGE = 500


class Experiment:
    """Finds or makes the experiment and the parent run.

    Args:
        address: Where they are.

    Attributes:
        client: The client.
        id: The experiment's id.
        parent: The parent run's id.

    Raises:
        TrackingError: The experiment was deleted.
        MlflowException: The server cannot be reached, or refuses.
    """

    def __init__(self, address: Address) -> None:
        from mlflow import MlflowClient  # takes seconds, which only the courier spends

        self._address = address
        self.client: MlflowClient = MlflowClient(address.tracking_uri)
        self.id = self._open()
        self.parent = self._elect()

    def _open(self) -> str:
        name = self._address.experiment
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return str(self.client.create_experiment(name))
            except Exception:  # another process may have been faster
                experiment = self.client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        if experiment.lifecycle_stage != "active":
            raise TrackingError(
                f"The MLflow experiment {name!r} was deleted. Restore it (`mlflow experiments "
                f"restore --experiment-id {experiment.experiment_id}`), or pass another name as "
                "`experiment`."
            )
        return str(experiment.experiment_id)

    def _elect(self) -> str:
        """Return the one parent run, after an election if there is none (see the module)."""
        own = ""
        patience = time.monotonic() + _CANDIDATE_SECONDS
        while True:
            candidates = {str(run.info.run_id): run for run in self.search("study")}
            elected = [id_ for id_, run in candidates.items() if "epbt.elected" in run.data.tags]
            others = sorted(candidates.keys() - {own})
            is_candidate = own in candidates
            if is_candidate and (elected or own > min(others, default=own)):
                self.withdraw(own)
                is_candidate = False
            if elected:
                return elected[0]
            if is_candidate and not others:
                self.client.set_tag(own, "epbt.elected", "true")
                return own
            if not candidates:
                own = self._create_candidate()
                continue
            if time.monotonic() > patience:
                for run_id in others:
                    self.withdraw(run_id)
            time.sleep(random.uniform(0.1, 0.3))

    def _create_candidate(self) -> str:
        run = self.client.create_run(
            self.id,
            start_time=self._address.start,
            run_name=self._address.study_name,
            tags={
                "epbt.role": "study",
                "epbt.study": self._address.study_key,
                "epbt.study_name": self._address.study_name,
                "epbt.direction": ", ".join(d.name.lower() for d in self._address.directions),
            },
        )
        return str(run.info.run_id)

    def create_child(self, content: TrialRun, parent_run_id: str | None) -> str:
        """Create a trial's run and return its id.

        Args:
            content: What it will hold; only its tags are logged.
            parent_run_id: The run of the trial whose weights it inherited, if it is there.
        """
        tags = content.tags | {
            "mlflow.parentRunId": self.parent,
            "epbt.role": "trial",
            "epbt.study": self._address.study_key,
        }
        if parent_run_id is not None:
            tags["epbt.parent_run_id"] = parent_run_id
        first, *more = batches(tags.items())
        run = self.client.create_run(
            self.id, start_time=content.start, tags=dict(first), run_name=content.name
        )
        for batch in more:
            self.log(run.info.run_id, tags=dict(batch))
        return str(run.info.run_id)

    def log(
        self,
        run_id: str,
        points: Iterable[Point] = (),
        *,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log in as few requests as MLflow's limits allow."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = batches((Metric(*point) for point in points), _METRICS)
        for some in batches(Param(*item) for item in (params or {}).items()):
            self.client.log_batch(run_id, next(metrics, []), params=some, synchronous=True)
        for more in batches(RunTag(*item) for item in (tags or {}).items()):
            self.client.log_batch(run_id, next(metrics, []), tags=more, synchronous=True)
        for rest in metrics:
            self.client.log_batch(run_id, rest, synchronous=True)

    def history(self, run_id: str, keys: Iterable[str]) -> Iterator[Metric]:
        """Yield all that was logged of some metrics."""
        for key in keys:
            yield from self.client.get_metric_history(run_id, key)

    def search(self, role: str, number: int | None = None) -> list[Run]:
        """Return the study's runs, the one with the lowest id first.

        Args:
            role: `"study"` for parent runs, `"trial"` for those of trials.
            number: Of one trial. Default: all.
        """
        conditions = [
            f"tags.`epbt.study` = '{self._address.study_key}'",
            f"tags.`epbt.role` = '{role}'",
        ]
        if number is not None:
            conditions.append(f"tags.`epbt.trial` = '{number}'")
        runs: list[Run] = []
        token: str | None = None
        while True:
            page = self.client.search_runs(
                [self.id], " and ".join(conditions), max_results=_PAGE, page_token=token
            )
            runs += page
            token = page.token
            if not token:
                return sorted(runs, key=lambda run: str(run.info.run_id))

    def withdraw(self, run_id: str) -> None:
        """Delete a run, if it is there."""
        with suppress(Exception):  # whoever sees that it is not needed may delete it
            self.client.delete_run(run_id)
