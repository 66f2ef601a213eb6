"""Records that another version wrote, or that somebody damaged: read, or an error that names them.

Whatever JSON stands under one of our keys, no reader ends with an error that leaves to the user
what is wrong and where, and none goes on for ever.
"""

from __future__ import annotations

import pickle
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from epbt_optuna import CheckpointError, CheckpointStore, EPBTPruner, EPBTSampler, reopen, resume
from epbt_optuna._internal import attrs
from epbt_optuna._internal.attrs import Attr
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna.lineage import (
    ReplaySampler,
    Schedule,
    ancestry,
    lineage_dataframe,
    lineage_graph,
    summarize_generations,
)
from epbt_optuna.lineage.overview import study_rows
from epbt_optuna.population import Generations
from epbt_optuna.tracking.runs import TrialRun
from epbt_optuna.visualization._figure_data.generations import generations_info
from epbt_optuna.visualization._figure_data.lineage import lineage_info

SCHEMA = [attr for attr in vars(attrs).values() if isinstance(attr, Attr)]
OF_STUDY = (attrs.STUDY, attrs.GENERATIONS, attrs.REPLAYED, attrs.FORMER_PREFIX, attrs.WARNED)
OF_TRIAL = [attr for attr in SCHEMA if attr not in OF_STUDY]
NAME = "mine"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values),
    max_leaves=5,
)
numbers = st.integers(-2, 12) | st.sampled_from([2**31, 2**63, 10**30])


def damaged(whole: Any) -> st.SearchStrategy[Any]:
    """Any JSON, or what was there with fields replaced or gone, or of a newer version."""
    if isinstance(whole, list):
        return json_values | st.lists(numbers, max_size=3)
    if not isinstance(whole, dict):
        return json_values
    fields = st.dictionaries(st.sampled_from([*whole, "version"]), numbers | json_values)
    gone = st.sampled_from(sorted(whole))
    return (
        json_values
        | fields.map(lambda new: {**whole, **new})
        | gone.map(lambda name: {key: value for key, value in whole.items() if key != name})
    )


# A study with a retry at work, and a replay of it: made once, and each example damages a copy.


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> CheckpointStore:
    return CheckpointStore(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="module")
def evolved(checkpoints: CheckpointStore, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    def train(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        for step in range(2):
            trial.report(x, step)
        checkpoints.save_path(trial, __file__, final=trial.number < 8)
        return x

    sampler = EPBTSampler(4, seed=0)
    pruner = EPBTPruner(n_min_trials=1)
    study = optuna.create_study(study_name=NAME, sampler=sampler, pruner=pruner)
    study.optimize(train, n_trials=8)
    train(study.ask())
    resume(study, study.trials[8])
    retry = study.ask()
    retry.suggest_float("x", 0, 1)
    assert checkpoints.inherit_path(retry, tmp_path_factory.mktemp("retry") / "it") is not None
    retry.report(0.0, 2)
    return pickle.dumps(study)


@pytest.fixture(scope="module")
def replayed(evolved: bytes) -> bytes:
    sampler = ReplaySampler(Schedule.from_study(pickle.loads(evolved)))
    study = optuna.create_study(study_name=NAME, sampler=sampler)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    return pickle.dumps(study)


def inherit(study: optuna.Study, checkpoints: CheckpointStore) -> Any:
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        with tempfile.TemporaryDirectory() as folder:
            checkpoints.inherit_path(reopen(study, trial), Path(folder) / "it")


def prune(study: optuna.Study, _: CheckpointStore) -> None:
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    for step in range(2):
        trial.report(1.0, step)
        trial.should_prune()
    study.tell(trial, 1.0)


def track(study: optuna.Study, _: CheckpointStore) -> None:
    generations, identity = Generations.recorded(study), StudyIdentity.of(study)
    for trial in study.trials:
        if trial.state.is_finished():
            TrialRun.of(trial, generations, identity, reports=())


def go_on(study: optuna.Study, checkpoints: CheckpointStore) -> None:
    study.optimize(
        lambda trial: trial.suggest_float("x", 0, 1),
        n_trials=2,
        callbacks=[checkpoints.collector()],
    )


def resume_all(study: optuna.Study, _: CheckpointStore) -> None:
    for trial in study.get_trials(states=[TrialState.RUNNING, TrialState.FAIL]):
        resume(study, trial)


def positions(study: optuna.Study, _: CheckpointStore) -> None:
    sampler = study.sampler
    assert isinstance(sampler, ReplaySampler)
    for trial in study.trials:
        sampler.position(trial)


def load_all(study: optuna.Study, checkpoints: CheckpointStore) -> None:
    for trial in study.trials[:8]:
        with pytest.raises(CheckpointError, match=r"[Tt]rial -?\d+ "):
            checkpoints.load(trial)


Reader = Callable[[optuna.Study, CheckpointStore], Any]
READERS: dict[str, Reader] = {
    "ancestry": lambda study, _: [ancestry(study, n) for n in range(10)],
    "graph": lambda study, _: lineage_graph(study),
    "table": lambda study, _: lineage_dataframe(study),
    "summary": lambda study, _: (summarize_generations(study), study_rows(study)),
    "schedule": lambda study, _: [Schedule.from_study(study, n) for n in range(10)],
    "pictures": lambda study, _: (lineage_info(study), generations_info(study)),
    "pruner": prune,
    "inherit": inherit,
    "load": load_all,
    "ask": go_on,
    "collect": lambda study, checkpoints: checkpoints.collect(study, dry_run=True),
    "resume": resume_all,
    "mlflow": track,
}
OF_REPLAYS: dict[str, Reader] = {
    "positions": positions,
    "ask": go_on,
    "ancestry": lambda study, _: ancestry(study),
}


def damage_trial(study: optuna.Study, number: int, key: str, value: Any) -> None:
    storage: Any = study._storage
    trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    storage._get_trial(trial_id).system_attrs[key] = value


def check(read: Reader, study: optuna.Study, checkpoints: CheckpointStore, whose: str) -> None:
    message = None
    try:
        read(study, checkpoints)
    except (ValueError, CheckpointError) as error:
        message = str(error)
    assert message is None or re.search(whose, message, re.IGNORECASE), message


@pytest.mark.parametrize("attr", OF_TRIAL, ids=lambda attr: str(attr.key))
@settings(max_examples=50)
@given(st.sampled_from(sorted(READERS)), st.data())
def test_a_damaged_record_of_a_trial_is_read_or_named(
    evolved: bytes, checkpoints: CheckpointStore, attr: Attr, reader: str, data: st.DataObject
) -> None:
    study = pickle.loads(evolved)
    number = data.draw(st.integers(0, 9))
    whole = study.trials[number].system_attrs.get(attr.key)
    damage_trial(study, number, attr.key, data.draw(damaged(whole)))
    check(READERS[reader], study, checkpoints, rf"trial {number}\b")


@pytest.mark.parametrize("attr", OF_STUDY, ids=lambda attr: str(attr.key))
@settings(max_examples=50)
@given(st.sampled_from(sorted(READERS)), st.data())
def test_a_damaged_record_of_a_study_is_read_or_named(
    evolved: bytes, checkpoints: CheckpointStore, attr: Attr, reader: str, data: st.DataObject
) -> None:
    study = pickle.loads(evolved)
    there = study._storage.get_study_system_attrs(study._study_id)
    keys = [key for key in there if key.startswith(attr.key)] or [attr.key]
    value = data.draw(damaged(there.get(keys[0])))
    study._storage.set_study_system_attr(study._study_id, keys[0], value)
    check(READERS[reader], study, checkpoints, f"{NAME!r}|trial ")


@pytest.mark.parametrize("attr", [attrs.REPLAY_POSITION, attrs.LINEAGE], ids=lambda a: str(a.key))
@settings(max_examples=50)
@given(st.sampled_from(sorted(OF_REPLAYS)), st.data())
def test_a_damaged_record_of_a_replay_is_read_or_named(
    replayed: bytes, checkpoints: CheckpointStore, attr: Attr, reader: str, data: st.DataObject
) -> None:
    study = pickle.loads(replayed)
    number = data.draw(st.integers(0, 2))
    whole = study.trials[number].system_attrs[attr.key]
    damage_trial(study, number, attr.key, data.draw(damaged(whole)))
    check(OF_REPLAYS[reader], study, checkpoints, rf"trial {number}\b|position")


# What examples above have found, or find too seldom


@pytest.mark.parametrize(
    ("generations", "problem"),
    [
        ({"population_size": 5, "n_elites": 4}, "trial 3, is of no generation before its own, 0"),
        ({"population_size": 2**31, "n_elites": 2}, "`population_size` must be at most 10000000"),
        ({"population_size": 10**30, "n_elites": 2}, "`population_size` must be at most 10000000"),
        ({"population_size": 4, "n_elites": 4}, "`n_elites` must be at most 3"),
        ({"population_size": 4, "n_elites": 2, "version": 3}, "it is of version 3"),
    ],
)
def test_an_arithmetic_of_generations_that_cannot_be_is_named(
    evolved: bytes, generations: dict[str, int], problem: str
) -> None:
    study = pickle.loads(evolved)
    attrs.GENERATIONS.write_to_study(study, generations)
    with pytest.raises(ValueError, match=f"has an attr 'epbt:.*' that cannot be read: .*{problem}"):
        lineage_info(study)


@pytest.mark.parametrize("position", [[0, 99], [0, -1], [-1, 0], [10**30, 10**30]])
def test_a_position_outside_of_the_schedule_is_named(
    replayed: bytes, checkpoints: CheckpointStore, position: list[int]
) -> None:
    study = pickle.loads(replayed)
    damage_trial(study, 1, attrs.REPLAY_POSITION.key, position)
    with pytest.raises(ValueError, match=r"^Trial 1 has an attr 'epbt:replay' .* has no step"):
        positions(study, checkpoints)


@pytest.mark.parametrize("earlier", [(9, 1), (10, 1), (-1, 1), (10**30, 1), (8, -1)])
def test_an_earlier_run_that_cannot_be_is_named_and_ends_no_pruning(
    evolved: bytes, checkpoints: CheckpointStore, earlier: tuple[int, int]
) -> None:
    study = pickle.loads(evolved)
    record = study.trials[9].system_attrs[attrs.CONTINUED.key]
    record = {**record, "trial": earlier[0], "n_reports": earlier[1]}
    damage_trial(study, 9, attrs.CONTINUED.key, record)
    with pytest.raises(ValueError, match=r"^Trial 9 has an attr 'epbt:continued' .* goes on from"):
        Schedule.from_study(study, 9)
    prune(study, checkpoints)
