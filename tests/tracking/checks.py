"""What MLflow must hold of a study, worked out from the study by other means than the tracker's."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import optuna
from mlflow import MlflowClient
from mlflow.entities import Run
from optuna.trial import FrozenTrial, TrialState

from tests.tracking.training import NAME

__all__ = ["check", "children_of", "experiment_id", "history", "parents_of"]

_STATUSES = {
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "KILLED",
    TrialState.FAIL: "FAILED",
}


def experiment_id(uri: str, name: str = NAME) -> str:
    experiment = MlflowClient(uri).get_experiment_by_name(name)
    assert experiment is not None
    return str(experiment.experiment_id)


def all_runs(uri: str, name: str) -> list[Run]:
    return list(MlflowClient(uri).search_runs([experiment_id(uri, name)], max_results=5000))


def parents_of(uri: str, name: str = NAME) -> list[Run]:
    """Return the runs that are nobody's child."""
    return [run for run in all_runs(uri, name) if "mlflow.parentRunId" not in run.data.tags]


def children_of(uri: str, name: str = NAME) -> dict[int, Run]:
    """Return the child runs by trial, each of which must be there once."""
    runs = [run for run in all_runs(uri, name) if "mlflow.parentRunId" in run.data.tags]
    counts = Counter(run.data.tags["epbt.trial"] for run in runs)
    assert not {trial: n for trial, n in counts.items() if n > 1}
    return {int(run.data.tags["epbt.trial"]): run for run in runs}


def history(uri: str, run: Run, key: str) -> list[tuple[int, float]]:
    """Return what was logged of a metric: steps and values, sorted."""
    metrics = MlflowClient(uri).get_metric_history(run.info.run_id, key)
    return sorted((metric.step, metric.value) for metric in metrics)


def check(
    study: optuna.Study,
    uri: str,
    n_trials: int,
    name: str = NAME,
    is_ours: bool = True,
) -> dict[int, Run]:
    """Check that the finished trials are there: all, once, whole. Return their runs.

    Args:
        study: The study.
        uri: Of MLflow.
        n_trials: How many have finished.
        name: Of the experiment.
        is_ours: Whether the study is that of `make_study`, with generations of 6, 3, 3, … trials.
    """
    (parent,) = parents_of(uri, name)
    children = children_of(uri, name)
    finished = [trial for trial in study.trials if trial.state.is_finished()]
    assert len(finished) == n_trials
    assert sorted(children) == [trial.number for trial in finished]
    for trial in finished:
        _check_child(uri, trial, children, is_ours)
        assert children[trial.number].data.tags["mlflow.parentRunId"] == parent.info.run_id
    return children


def _check_child(uri: str, trial: FrozenTrial, children: dict[int, Run], is_ours: bool) -> None:
    run = children[trial.number]
    assert run.info.status == _STATUSES[trial.state]
    assert run.info.start_time == _milliseconds(trial.datetime_start)
    assert run.info.end_time == _milliseconds(trial.datetime_complete)
    assert run.data.params == {name: str(value) for name, value in trial.params.items()}
    reports = sorted(trial.intermediate_values.items())
    assert history(uri, run, "intermediate_value") == reports
    fitness = [] if trial.value is None or trial.state != TrialState.COMPLETE else [trial.value]
    assert [value for _, value in history(uri, run, "fitness")] == fitness
    lineage = trial.system_attrs.get("epbt:lineage", {})  # none if it was killed at ask
    for tag, value in {
        "epbt.generation": max(0, 1 + (trial.number - 6) // 3) if is_ours else None,
        "epbt.parent_trial": lineage.get("parent"),
        "epbt.mate_trial": lineage.get("mate"),
        "epbt.elite": "true" if lineage.get("elite") else None,
    }.items():
        assert run.data.tags.get(tag) == (None if value is None else str(value))
    if lineage.get("parent") is not None:
        assert run.data.tags["epbt.parent_run_id"] == children[lineage["parent"]].info.run_id


def _milliseconds(moment: datetime | None) -> int:
    assert moment is not None
    return int(moment.timestamp() * 1000)
