"""What a trial becomes in MLflow: names, values, times."""

from __future__ import annotations

import os
import pickle
import re
from datetime import datetime, timedelta
from pathlib import Path

import optuna
import pytest
from mlflow.utils.validation import _validate_metric_name
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import EPBTSampler
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna.checkpoints.reports import reports_of
from epbt_optuna.population import Generations
from epbt_optuna.tracking import MLflowTracker
from epbt_optuna.tracking.experiment import batches
from epbt_optuna.tracking.runs import TrialRun, text_of, user_key, valid_key
from tests.lineage.studies import averaging

START = datetime(2026, 1, 1)
NOBODY = StudyIdentity.of(optuna.create_study())


def trial(**changes: object) -> FrozenTrial:
    frozen = optuna.create_trial(
        value=0.5,
        params={"x": 0.25},
        distributions={"x": FloatDistribution(0, 1)},
        intermediate_values={0: 0.1, 5: 0.3},
    )
    frozen.datetime_start, frozen.datetime_complete = START, START + timedelta(seconds=10)
    for name, value in changes.items():
        setattr(frozen, name, value)
    return frozen


def run_of(
    trial: FrozenTrial, generations: Generations | None = None, identity: StudyIdentity = NOBODY
) -> TrialRun:
    return TrialRun.of(trial, generations, identity, reports_of(trial, identity, lambda _: None))


def test_reports_are_spread_evenly_over_the_trial_and_fitness_is_at_its_end() -> None:
    values = run_of(trial()).values
    start = int(START.timestamp() * 1000)
    assert [(p.key, p.step, p.value, p.timestamp - start) for p in values] == [
        ("intermediate_value", 0, 0.1, 5_000),
        ("intermediate_value", 5, 0.3, 10_000),
        ("fitness", 5, 0.5, 10_000),
    ]


def test_a_trial_that_did_not_complete_has_no_fitness() -> None:
    content = run_of(trial(state=TrialState.PRUNED))
    assert {value.key for value in content.values} == {"intermediate_value"}
    assert content.status == "KILLED"


def test_a_trial_whose_lineage_was_not_recorded_still_has_its_generation() -> None:
    """Its process was killed between the two."""
    content = run_of(trial(number=7, state=TrialState.FAIL), Generations(6, 3))
    assert content.tags["epbt.generation"] == "1"
    assert "epbt.parent_trial" not in content.tags


@pytest.mark.parametrize("train_elites", [False, True])
def test_an_elite_that_goes_on_training_is_tagged_as_one(train_elites: bool) -> None:
    sampler = EPBTSampler(4, n_elites=2, train_elites=train_elites, seed=0)
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=8)
    identity, generations = StudyIdentity.of(study), Generations.recorded(study)
    tags = [run_of(trial, generations, identity).tags for trial in study.trials]
    elites = [number for number, own in enumerate(tags) if own.get("epbt.elite") == "true"]
    assert elites == ([4, 5] if train_elites else [])
    assert sum("epbt.elite" in own for own in tags) == len(elites)


@pytest.mark.parametrize("name", ["lr", "optimizer/lr", "θ₀", "a:b", "x" * 250])
def test_a_name_that_mlflow_takes_stays_as_it_is(name: str) -> None:
    assert valid_key(name) == name


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("/lr", "_lr_"),
        ("a//b", "a__b_"),
        ("..", "_"),
        ("θ₀ [1]", "θ₀ _1__"),
        ("\ud800", "__"),
        ("x" * 300, "x" * 241 + "_"),
    ],
)
def test_another_name_becomes_one_that_mlflow_takes(name: str, start: str) -> None:
    key = valid_key(name)
    _validate_metric_name(key)  # type: ignore[no-untyped-call]
    assert re.fullmatch(re.escape(start) + "[0-9a-f]{8}", key)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("lr(head)", "lr[head]"),
        ("x" * 300 + "a", "x" * 300 + "b"),
        ("best." + "x" * 250, "best." + "x" * 249),
        ("/a", "_a"),
        ("..", "_"),
    ],
)
def test_different_names_stay_different(one: str, other: str) -> None:
    assert valid_key(one) != valid_key(other)
    assert valid_key(valid_key(one)) != valid_key(one)  # that is another name
    _validate_metric_name(valid_key(one))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    "name", ["lr", "LR", "Lr", "l\u00e9", "l\u00c9", "lr ", "Epbt.lr", "lr_0000aaaa"]
)
def test_where_case_is_ignored_a_name_with_capitals_or_accents_has_a_hash(name: str) -> None:
    key = valid_key(name, keeps_case=False)
    _validate_metric_name(key)  # type: ignore[no-untyped-call]
    assert key == name if name == "lr" else re.fullmatch(f"{name}_[0-9a-f]{{8}}", key)


def test_a_run_says_how_much_of_its_weights_are_the_mates(tmp_path: Path) -> None:
    study = averaging(tmp_path)
    identity = StudyIdentity.of(study)
    tags = [run_of(trial, None, identity).tags for trial in study.trials]
    assert [t.get("epbt.mate_weight") for t in tags] == [None] * 4 + ["0.25", None] * 4
    damaged = study.trials[6]
    damaged.system_attrs = {**damaged.system_attrs, "epbt:mixed": "0.25"}
    content = run_of(damaged, None, identity)  # and the rest is there
    assert "epbt.mate_weight" not in content.tags
    assert content.tags["epbt.mate_trial"] == tags[6]["epbt.mate_trial"]


def test_a_users_tag_cannot_take_the_place_of_mlflows_or_ours() -> None:
    names = [
        *("mlflow.x", "user.mlflow.x", "user.user.mlflow.x", "..mlflow.x", "EPBT.trial"),
        *("epbt.trial", "user.epbt.trial", "x", "user.x"),
    ]
    tags = [user_key(name) for name in names]
    assert len(set(tags)) == len(names)
    assert not any(tag.lower().startswith(("mlflow.", "epbt.")) for tag in tags)
    assert user_key("x") == "x"


def test_every_value_becomes_a_text_that_can_be_sent() -> None:
    circle: list[object] = []
    circle.append(circle)
    for value in ("\ud800", {(1, 2): 3}, circle, {1}, "y" * 9000):
        assert 0 < len(text_of(value).encode()) <= 8002


def test_batches_have_at_most_their_size_and_lose_nothing() -> None:
    assert list(batches(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(batches([], 3)) == []


def test_a_tracker_can_be_pickled() -> None:
    tracker = MLflowTracker("http://localhost:5000", experiment="e", log_checkpoints=True)
    copy = pickle.loads(pickle.dumps(tracker))
    assert copy.__getstate__() == tracker.__getstate__()
    assert copy.__getstate__() == {
        "tracking_uri": "http://localhost:5000",
        "experiment": "e",
        "log_checkpoints": True,
        "pictures_every": 10,
        "folder": os.getcwd(),
    }
