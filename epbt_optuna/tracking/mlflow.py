"""`MLflowTracker`: every study a run, every trial a child run, in MLflow."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

from optuna import Study
from optuna.trial import FrozenTrial

from epbt_optuna._internal.checks import check_boolean, check_integer
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import read_trial
from epbt_optuna._internal.per_study import PerStudy
from epbt_optuna._internal.text import get_logger
from epbt_optuna.tracking.destination import Destination, absolute
from epbt_optuna.tracking.experiment import TrackingError
from epbt_optuna.tracking.worker import Worker

__all__ = ["MLflowTracker"]

_logger = get_logger("epbt_optuna.tracking")


class MLflowTracker:
    """A study callback that makes a population's history browsable in MLflow.

    The study is a parent run with a step for each generation that has ended, pictures, and
    `schedule.json`; each finished trial is a child run of it, with its lineage as tags that can be
    searched (``tags.`epbt.generation` = '3'``). The documentation's page on MLflow lists them.

    **Training never waits for MLflow, nor ends because of it.** The callback puts the trial's
    number into a queue; a thread reads the trial from the study and delivers it, and rests in
    between. Nothing is lost: every finished trial of the study must be in MLflow once, which the
    thread sees to when it starts, when it ends, and in `sync`. (A study in memory ends with its
    process, and so does what could not be delivered by then.) A server that is down costs one
    warning, by `logging`; a trial that MLflow refuses is named in one, and passed over.

    Works in every process that runs trials of a study, each with a tracker of its own (it can be
    pickled), with threads, with callbacks that are called in a driver, and after a resume: one
    parent run, no child twice. Where no sampler of ours breeds, lineage and generations are
    missing.

    While it delivers, MLflow in this process repeats no request by itself and prints no links,
    unless its variables in the environment say so: it has no other way to be told.

    Args:
        tracking_uri: MLflow's server or database, such as `"http://localhost:5000"` or
            `"sqlite:///mlflow.db"`, in the folder that is the working directory now. Default: what
            MLflow is set to, `MLFLOW_TRACKING_URI`.
        experiment: Name of the experiment; created if there is none. Default: the study's name.
        log_checkpoints: Whether checkpoints become MLflow models, each the output of its trial's
            run and an input of its children's. Their bytes stay where they are.
        pictures_every: Generations between two sets of pictures, or more where drawing them would
            take more than 5 % of the time; the last set is made at the end. 0: no pictures, only
            `schedule.json`.

    Raises:
        ImportError: MLflow is not installed.
        TypeError: An argument is of the wrong type.
        ValueError: An argument is empty or negative.

    Example:
        ```python
        with MLflowTracker("sqlite:///mlflow.db") as tracker:
            study.optimize(objective, n_trials=520, callbacks=[tracker])
        ```
        Without `with`, what is left is delivered when the interpreter ends, for at most a minute.
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        *,
        experiment: str | None = None,
        log_checkpoints: bool = False,
        pictures_every: int = 10,
    ) -> None:
        for name, value in (("tracking_uri", tracking_uri), ("experiment", experiment)):
            if value is not None and not isinstance(value, str):
                raise TypeError(f"`{name}` must be a string or None but got {value!r}.")
            if value is not None and not value.strip():
                raise ValueError(f"`{name}` must not be empty but got {value!r}.")
        check_boolean("log_checkpoints", log_checkpoints)
        check_integer("pictures_every", pictures_every, at_least=0)
        if importlib.util.find_spec("mlflow") is None:
            raise ImportError("`MLflowTracker` needs MLflow: pip install 'epbt-optuna[mlflow]'.")
        uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or None
        self._destination = Destination(
            uri and absolute(uri, os.getcwd()), experiment, log_checkpoints, int(pictures_every)
        )
        self._latest: Worker | None = None
        self._begin()

    def _begin(self) -> None:
        """Begin without threads: they are of one process, and of one run."""
        self._pid = os.getpid()
        self._workers = PerStudy(self._start_worker)
        self._started: list[Worker] = []
        self._has_warned = False

    def __getstate__(self) -> dict[str, Any]:
        return dict(vars(self._destination))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._destination = Destination(**state)
        self._latest = None
        self._begin()

    def __call__(self, study: Study, trial: FrozenTrial) -> None:
        """Note a finished trial for delivery; returns at once, and never raises."""
        try:
            if self._pid != os.getpid():  # in a forked worker
                self._begin()
            identity = StudyIdentity.drawn(study, trial.number + 1)  # `_workers` go by its token
            self._workers(study, identity).hand_over(trial.number)
        except Exception as error:
            if not self._has_warned:
                self._has_warned = True
                _logger.warning(
                    "Trials cannot be delivered to MLflow: %r. Training goes on; "
                    "`MLflowTracker.sync(study)` delivers what is missing.",
                    error,
                )

    @property
    def run_id(self) -> str | None:
        """The id of the parent run of the latest study; None until the thread has found it."""
        return self._latest.run_id or None if self._latest else None

    @property
    def url(self) -> str | None:
        """The page of this run in a browser; None, too, where MLflow is a database and no server.

        For a database, `mlflow ui --backend-store-uri URI` is such a server.
        """
        address = self._latest.address if self._latest else ""
        return address if address.startswith("http") else None

    def close(self) -> None:
        """Wait until everything is in MLflow; a few seconds only where the server is down.

        Shows a progress bar on a terminal, and logs the address of the parent run.
        The tracker can be used again afterwards.
        """
        if self._pid == os.getpid():
            started = self._started
            self._begin()
            for worker in started:
                worker.close()

    def __enter__(self) -> MLflowTracker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sync(self, study: Study) -> str:
        """Bring to MLflow what is missing there, from the study alone, and wait for it.

        What is there stays, and nothing is there twice, however often this is called. A trial that
        another process has just finished, and is about to deliver, may be delivered here.

        Args:
            study: The study, running or not, with this tracker or without one until now.

        Returns:
            The address of the parent run.

        Raises:
            ValueError: The study has no trials, or is in SQLite's memory, which has no threads.
            TrackingError: The server cannot be reached or refuses, or the experiment was deleted.
        """
        if read_trial(study, 0) is None:
            raise ValueError(f"Study {study.study_name!r} is empty: it has no trials yet.")
        self.close()
        self._latest = worker = Worker(study, self._destination, everything=True)
        if not worker.close():
            raise TrackingError(worker.last_warning)
        return worker.address

    def _start_worker(self, study: Study) -> Worker:
        self._latest = worker = Worker(study, self._destination)
        self._started.append(worker)
        return worker
