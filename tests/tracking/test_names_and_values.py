"""Whatever users name and note: what can be shown is in MLflow, each under a name of its own."""

from __future__ import annotations

import json
import logging
import math
import shutil
from pathlib import Path
from typing import Any

import mlflow
import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from optuna.distributions import FloatDistribution

from epbt_optuna import EPBTSampler
from epbt_optuna._internal.optuna import read_study_attrs, write_study_attr
from epbt_optuna.lineage import Schedule
from epbt_optuna.tracking import MLflowTracker
from epbt_optuna.tracking.delivery import Delivery
from epbt_optuna.tracking.destination import Destination
from epbt_optuna.tracking.runs import leave_out, text_of
from tests.tracking.checks import children_of, experiment_id, history, parents_of
from tests.tracking.servers import ignoring_case


class Broken:
    """Of no text."""

    def __str__(self) -> str:
        raise RuntimeError("No.")

    __repr__ = __str__


LIKE = [
    *("lr(head)", "lr[head]", "LR(head)", "lr_head_", "lr_head__86d1dbd8", "Lr", "lr", "LR", "lr "),
    *("..", ".", "/", "a//b", "a/../b", "", " ", "x" * 250, "x" * 250 + "a", "x" * 250 + "b"),
    *("mlflow.parentRunId", "epbt.trial", "user.epbt.trial", "user.user.epbt.trial"),
    *("best", "fitness", "system/gpu", "\ud800", "\ud801", "\x00", "é", "É", "🐛"),
]
names = st.sampled_from(LIKE) | st.text(max_size=8) | st.text(min_size=240, max_size=260)
values = st.one_of(
    st.text(st.characters() | st.sampled_from("\ud800\x00\x1b"), max_size=20),
    st.floats(),
    st.integers(),
    st.sampled_from([Broken(), 10**5000, "y" * 9000, [1, (2, None)], {(1, 2): 3}, {1}, Path("x")]),
)
steps = st.integers(0, 9) | st.sampled_from([-1, 2**63 - 1, 2**63, 2**70])


@pytest.fixture(scope="module", params=["as it is", "ignoring case"])
def uri(
    request: pytest.FixtureRequest, empty_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> str:
    path = tmp_path_factory.mktemp("names") / "mlflow.db"
    (shutil.copy if request.param == "as it is" else ignoring_case)(empty_database, path)
    return f"sqlite:///{path}"


def can_be_shown(value: Any) -> bool:
    try:
        text_of(value)
    except Exception:
        return False
    return True


def is_number(value: Any) -> bool:
    """Tell whether a value is a metric: a finite number of at most 53 bits."""
    if isinstance(value, int):
        return -(2**53) <= value <= 2**53
    return isinstance(value, float) and math.isfinite(value)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    params=st.dictionaries(names, st.floats(-9, 9), min_size=1, max_size=8),
    noted=st.dictionaries(names, values, max_size=8),
    reports=st.dictionaries(steps, st.floats(), max_size=5),
    study_name=st.text(max_size=20) | st.just("\x1b\ud800/🐛" * 125),
)
def test_what_can_be_shown_arrives_under_a_name_of_its_own(
    uri: str,
    params: dict[str, float],
    noted: dict[str, Any],
    reports: dict[int, float],
    study_name: str,
) -> None:
    study = optuna.create_study(study_name=study_name, direction="maximize")
    write_study_attr(study, "epbt:generations", {"population_size": 2, "n_elites": 1})
    for _ in range(2):
        study.add_trial(
            optuna.trial.create_trial(
                value=0.5,
                params=params,
                distributions=dict.fromkeys(params, FloatDistribution(-10, 10)),
                user_attrs=noted,
                intermediate_values=reports,
            )
        )
    delivery = Delivery(study, Destination(uri, "names", False, 0))
    for number in range(2):
        delivery.deliver(number, is_first_try=True, is_listed=False)
    delivery.parent.bring_generations()
    runs = [delivery._client.get_run(delivery._children[number].run_id) for number in range(2)]
    for run in runs:
        assert sorted(run.data.params.values()) == sorted(map(str, params.values()))
        notes = {k: v for k, v in run.data.tags.items() if not k.startswith(("epbt.", "mlflow."))}
        numbers = [value for value in noted.values() if is_number(value)]
        texts = [v for v in noted.values() if not is_number(v) and can_be_shown(v)]
        assert sorted(notes.values()) == sorted(map(text_of, texts))
        own = {"intermediate_value", "fitness"}
        metrics = [value for key, value in run.data.metrics.items() if key not in own]
        assert sorted(metrics) == sorted(map(float, numbers))
        assert run.data.tags["epbt.trial"] in "01"
        assert run.data.tags["mlflow.parentRunId"] == delivery.experiment.parent
        logged = list(delivery.experiment.history(run.info.run_id, ["intermediate_value"]))
        assert sorted(m.step for m in logged) == sorted(s for s in reports if s < 2**63)
        assert run.info.status == "FINISHED"
    assert runs[0].data.params.keys() == runs[1].data.params.keys()
    parent = delivery._client.get_run(delivery.experiment.parent)
    best = {k: v for k, v in parent.data.metrics.items() if k.startswith("best.")}
    assert sorted(best.values()) == sorted(params.values())


def test_a_value_that_cannot_be_shown_costs_itself_and_one_line(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    leave_out.cache_clear()
    study = optuna.create_study(
        study_name="s", direction="maximize", sampler=EPBTSampler(2, seed=0)
    )

    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr("note", Broken())
        trial.set_user_attr("file", b"caf\xe9.png".decode("utf-8", "surrogateescape"))
        trial.report(math.nan, 0)
        trial.report(math.inf, 1)
        trial.report(0.5, 2**70)
        return trial.suggest_float("x", 0, 1)

    with caplog.at_level(logging.WARNING), MLflowTracker(database, pictures_every=0) as tracker:
        study.optimize(objective, n_trials=2, callbacks=[tracker])
    lines = [r.getMessage() for r in caplog.records if r.name.startswith("optuna.epbt_optuna")]
    assert sorted(line.partition(": ")[0] for line in lines) == [
        "MLflow cannot show the report of trial 0 at step 1180591620717411303424",
        "MLflow cannot show the report of trial 1 at step 1180591620717411303424",
        "MLflow cannot show the user attr 'note'",
    ]
    run = children_of(database, "s")[1]
    assert run.data.tags["file"] == r"caf\udce9.png"
    assert run.data.params.keys() == {"x"}
    assert [step for step, _ in history(database, run, "intermediate_value")] == [0, 1]
    (parent,) = parents_of(database, "s")
    assert parent.info.status == "FINISHED"
    assert "median" in parent.data.metrics


def test_what_a_server_refuses_is_left_out_alone(
    database: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one with lower limits than the client knows."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

    leave_out.cache_clear()
    log_batch = MlflowClient.log_batch

    def refuse_sevens(client: MlflowClient, run_id: str, *things: Any, **options: Any) -> None:
        if any("7" in thing.key for some in things for thing in some):
            raise MlflowException("No sevens.", INVALID_PARAMETER_VALUE)
        log_batch(client, run_id, *things, **options)

    monkeypatch.setattr(MlflowClient, "log_batch", refuse_sevens)
    study = optuna.create_study(study_name="s", sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial: optuna.Trial) -> float:
        for i in range(20):
            trial.suggest_float(f"x{i}", 0, 1)
            trial.set_user_attr(f"note {i}", "text")
        return 0.5

    with MLflowTracker(database, pictures_every=0) as tracker:
        study.optimize(objective, n_trials=1, callbacks=[tracker])
    run = children_of(database, "s")[0]
    assert run.data.params.keys() == {f"x{i}" for i in range(20) if i not in (7, 17)}
    assert len([tag for tag in run.data.tags if tag.startswith("note")]) == 18
    assert caplog.text.count("No sevens.") == 4
    assert run.info.status == "FINISHED"


@pytest.mark.filterwarnings("ignore:Choices for a categorical distribution")  # Optuna's
def test_categories_may_be_lists_and_dicts_in_the_schedule_too(database: str) -> None:
    study = optuna.create_study(
        study_name="s", direction="maximize", sampler=EPBTSampler(2, seed=0)
    )
    layers: list[Any] = [[64], [64, 64], {"json": [1]}, {"float": "inf"}]

    def objective(trial: optuna.Trial) -> float:
        return len(trial.suggest_categorical("layers", layers)) + trial.suggest_float("x", 0, 1)

    with MLflowTracker(database) as tracker:
        study.optimize(objective, n_trials=6, callbacks=[tracker])
    client = MlflowClient(database)
    (parent,) = parents_of(database, "s")
    path = mlflow.artifacts.download_artifacts(f"{parent.info.artifact_uri}/schedule.json")
    assert Schedule.load(path) == Schedule.from_study(study)
    assert parent.info.status == "FINISHED"
    assert len(client.list_artifacts(parent.info.run_id)) == 7
    best = json.loads(parent.data.tags["epbt.best.layers"])
    assert best in layers


def test_a_copy_that_goes_on_has_runs_of_its_own_and_a_warning_says_so(
    database: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = (f"sqlite:///{tmp_path}/{name}.db" for name in ("one", "two"))

    def go_on(study: optuna.Study, branch: str) -> None:
        def objective(trial: optuna.Trial) -> float:
            trial.set_user_attr("branch", branch)
            return trial.suggest_float("x", 0, 1)

        with MLflowTracker(database, pictures_every=0) as tracker:
            study.optimize(objective, n_trials=4, callbacks=[tracker])
        tracker.sync(study)

    trunk = optuna.create_study(study_name="s", storage=one, sampler=EPBTSampler(4, seed=0))
    go_on(trunk, "trunk")
    optuna.copy_study(from_study_name="s", from_storage=one, to_storage=two)
    assert not caplog.text.count("A copy of study")
    copy = optuna.load_study(study_name="s", storage=two, sampler=EPBTSampler(4, seed=1))
    assert read_study_attrs(copy) == read_study_attrs(trunk)
    go_on(trunk, "one")
    go_on(copy, "two")
    client = MlflowClient(database)
    runs = client.search_runs([experiment_id(database, "s")], "tags.`epbt.role` = 'trial'")
    there = sorted((int(r.data.tags["epbt.trial"]), r.data.tags["branch"]) for r in runs)
    wanted = [(n, "trunk") for n in range(4)] + [
        (n, b) for n in range(4, 8) for b in ("one", "two")
    ]
    assert there == sorted(wanted)
    parents = {r.info.run_id: (r.data.tags["epbt.trial"], r.data.tags["branch"]) for r in runs}
    for run in runs:
        if (of := run.data.tags.get("epbt.parent_run_id")) is not None:
            assert parents[of][1] in ("trunk", run.data.tags["branch"])
    assert "A copy of study 's' has gone on in MLflow's parent run" in caplog.text
