"""The schema of what is written into studies, and its one parser."""

from __future__ import annotations

import ast
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

import epbt_optuna
from epbt_optuna import CheckpointStore, EPBTSampler
from epbt_optuna._internal import attrs
from epbt_optuna._internal.attrs import (
    CHECKPOINT,
    GENERATIONS,
    LINEAGE,
    PINNED,
    REPLAY_POSITION,
    STUDY,
    Attr,
    AttrError,
)
from epbt_optuna.population import Generations, Lineage

PACKAGE = Path(epbt_optuna.__path__[0])
SCHEMA = [value for value in vars(attrs).values() if isinstance(value, Attr)]

lineage = {"generation": 1, "parent": 2, "mate": None, "token": "t", "number": 5, "elite": True}
checkpoint = {
    "trial": 5,
    "artifact": "epbt-t-000005-x.pt",
    "size": 1,
    "sha256": "0",
    "kind": "state",
    "final": True,
    "format": 1,
    "token": "t",
    "n_reports": 2,
    "inherited": True,
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=5,
)


@pytest.mark.parametrize("attr", SCHEMA, ids=lambda attr: str(attr.key))
def test_every_key_is_said_to_be_written_by_somebody(attr: Attr) -> None:
    users = [
        path.name
        for path in PACKAGE.rglob("*.py")
        if path.name != "attrs.py" and _name_of(attr) in path.read_text()
    ]
    assert users


def test_nobody_else_spells_a_key() -> None:
    spelt = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE) != Path("_internal/attrs.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith("epbt:")
    ]
    assert spelt == []


def _name_of(attr: Attr) -> str:
    return next(name for name, value in vars(attrs).items() if value is attr)


def test_what_is_written_is_read_back() -> None:
    assert LINEAGE.of_trial(5, {LINEAGE.key: lineage}) == lineage
    assert CHECKPOINT.of_trial(5, {CHECKPOINT.key: checkpoint}) == checkpoint
    assert REPLAY_POSITION.of_trial(5, {REPLAY_POSITION.key: [3, 4]}) == [3, 4]
    assert LINEAGE.of_trial(5, {"other": 1}) is None


def test_fields_of_a_later_version_are_passed_over_and_those_that_an_earlier_one_lacks() -> None:
    later = {**lineage, "weather": "fine"}
    assert LINEAGE.of_trial(5, {LINEAGE.key: later}) == lineage
    earlier = {name: lineage[name] for name in ("generation", "parent", "mate")}
    lacking = dict.fromkeys(("token", "number", "elite"))
    assert LINEAGE.of_trial(5, {LINEAGE.key: earlier}) == {**earlier, **lacking}


@pytest.mark.parametrize(
    ("attr", "value", "problem"),
    [
        (LINEAGE, {"generation": 1, "parent": 2}, "`mate` is missing in"),
        (LINEAGE, {**lineage, "parent": "2"}, "`parent` must be of type int or null but is '2'"),
        (LINEAGE, {**lineage, "generation": True}, "`generation` must be of type int but is True"),
        (LINEAGE, {**lineage, "token": 7}, "`token` must be of type str but is 7"),
        (LINEAGE, [1, 2], r"it must be an object but is \[1, 2\]"),
        (LINEAGE, {**lineage, "version": 2}, "it is of version 2, but .* knows versions up to 1"),
        (LINEAGE, {**lineage, "version": "b"}, "it is of version 'b'"),
        (CHECKPOINT, {**checkpoint, "size": 1.0}, "`size` must be of type int but is 1.0"),
        (PINNED, 1, "it must be of type bool but is 1"),
        (REPLAY_POSITION, [1], r"it must be a list of int or int but is \[1\]"),
        (REPLAY_POSITION, {"network": 1}, "it must be a list"),
    ],
)
def test_an_attr_that_cannot_be_read_is_named_with_its_trial(
    attr: Attr, value: Any, problem: str
) -> None:
    with pytest.raises(AttrError, match=f"^Trial 5 has an attr '{attr.key}' .*: {problem}"):
        attr.of_trial(5, {attr.key: value})


def test_an_attr_of_a_study_is_named_with_the_study() -> None:
    study = optuna.create_study(study_name="mine")
    study._storage.set_study_system_attr(study._study_id, "epbt:generations", {"n_elites": 1})
    message = "Study 'mine' has an attr 'epbt:generations' that cannot be read: `population_size`"
    with pytest.raises(ValueError, match=message):
        Generations.recorded(study)
    study._storage.set_study_system_attr(study._study_id, "epbt:study:abc", {"id": "1"})
    with pytest.raises(ValueError, match="Study 'mine' has an attr 'epbt:study:abc'"):
        STUDY.family(study, study._storage.get_study_system_attrs(study._study_id))


@given(st.sampled_from(SCHEMA), json_values)
def test_whatever_stands_there_is_read_or_an_attr_error(attr: Attr, value: Any) -> None:
    with suppress(AttrError):
        attr.of_trial(5, {attr.key: value})


@pytest.mark.parametrize("relative", ["parent", "mate"])
@pytest.mark.parametrize("number", [5, 6, 1000, -1])
def test_a_parent_that_does_not_come_before_its_child_is_an_error(
    relative: str, number: int
) -> None:
    record = {**lineage, "parent": 2, relative: number}
    message = f"Trial 5 has an attr 'epbt:lineage' .* trial {number}, does not come before it"
    with pytest.raises(AttrError, match=message):
        Lineage.recorded(5, {LINEAGE.key: record})


def damage(study: optuna.Study, number: int, key: str) -> None:
    storage = study._storage
    trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    storage._get_trial(trial_id).system_attrs[key] = {"damaged": True}  # type: ignore[attr-defined]


def test_a_damaged_record_ends_neither_a_run_nor_a_collection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = CheckpointStore(tmp_path)
    study = optuna.create_study(sampler=EPBTSampler(4, n_elites=2, seed=0))

    def objective(trial: optuna.Trial) -> float:
        checkpoints.inherit(trial, missing="fresh")
        checkpoints.save(trial, {"number": trial.number})
        return trial.suggest_float("x", 0, 1)

    study.optimize(objective, n_trials=8)
    damage(study, 5, LINEAGE.key)
    damage(study, 6, CHECKPOINT.key)
    study.optimize(objective, n_trials=8, callbacks=[checkpoints.collector()])
    assert len(study.trials) == 16
    assert caplog.text.count("Trial 5 has an attr 'epbt:lineage' that cannot be read") == 1
    with pytest.raises(ValueError, match="Trial 5 has an attr 'epbt:lineage'"):
        epbt_optuna.lineage.lineage_graph(study)


def test_a_study_whose_arithmetic_is_damaged_is_named_and_its_collector_ends_no_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = CheckpointStore(tmp_path)
    study = optuna.create_study(study_name="mine", sampler=optuna.samplers.RandomSampler())
    GENERATIONS.write_to_study(study, {"population_size": "four", "n_elites": 2})
    study.optimize(
        lambda trial: trial.suggest_float("x", 0, 1),
        n_trials=3,
        callbacks=[checkpoints.collector()],
    )
    assert caplog.text.count("Study 'mine' has an attr 'epbt:generations'") == 1
    study.sampler = EPBTSampler(4)
    with pytest.raises(ValueError, match="Study 'mine' has an attr 'epbt:generations'"):
        study.ask()
