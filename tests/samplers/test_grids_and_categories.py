"""Grids far from zero, and categories that a database changes, are inherited like any other."""

from __future__ import annotations

import enum
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from epbt_optuna import EPBTSampler
from tests.samplers.studies import bred, evolve, still

pytestmark = pytest.mark.filterwarnings("ignore:Choices for a categorical distribution")

NESTED = [((1, 2), (3,)), ((1, 2), [3, (4,)]), ()]
KINDS: dict[str, Sequence[Any]] = {
    "tuples": [(64,), (64, 64)],
    "nested tuples": NESTED,
    "lists": [[1], [1, 2], []],
    "dicts": [{"a": (1, 2)}, {"a": [1]}, {"b": None}],
    "scalars": [None, True, 2, 2.5, "2", "", float("inf")],
    "not a number": [float("nan"), 1.0],
    "mixed": ["relu", ("gelu", 0.5), None, [0]],
}


class Activation(str, enum.Enum):
    RELU = "relu"
    TANH = "tanh"


def make_storage(kind: str, folder: Path) -> BaseStorage:
    if kind == "sqlite":
        return RDBStorage(f"sqlite:///{folder}/study.db")
    if kind == "journal":
        return JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    return InMemoryStorage()


storages = pytest.mark.parametrize("storage", ["memory", "sqlite", "journal"])


def objective_of(choices: Sequence[Any], seen: list[Any]) -> Callable[[optuna.Trial], float]:
    def objective(trial: optuna.Trial) -> float:
        seen.append(trial.suggest_categorical("kind", choices))
        return trial.suggest_float("x", 0, 1)

    return objective


def index_of(choices: Sequence[Any], value: Any) -> int:
    return next(i for i, choice in enumerate(choices) if choice is value)


@storages
@pytest.mark.parametrize("kind", KINDS)
def test_an_objective_gets_its_parents_category_as_it_wrote_it_itself(
    kind: str, storage: str, tmp_path: Path
) -> None:
    seen: list[Any] = []
    sampler = still(population_size=4, n_elites=1, seed=0)
    study = evolve(
        sampler, 13, objective_of(KINDS[kind], seen), storage=make_storage(storage, tmp_path)
    )
    indices = [index_of(KINDS[kind], value) for value in seen]
    pairs = bred(study)
    assert len(pairs) == 9
    for child, parent in pairs:
        assert indices[child.number] == indices[parent.number]


@storages
def test_mutation_and_crossover_take_categories_of_a_database(storage: str, tmp_path: Path) -> None:
    seen: list[Any] = []
    evolve(
        EPBTSampler(6, seed=0),
        30,
        objective_of(NESTED, seen),
        storage=make_storage(storage, tmp_path),
    )
    assert {index_of(NESTED, value) for value in seen} == {0, 1, 2}


@storages
def test_members_of_an_enumeration_stay_members(storage: str, tmp_path: Path) -> None:
    seen: list[Any] = []
    objective = objective_of(list(Activation), seen)
    evolve(EPBTSampler(4, seed=0), 12, objective, storage=make_storage(storage, tmp_path))
    assert all(type(value) is Activation for value in seen)


@storages
def test_categories_that_optuna_takes_for_one_are_seen_as_what_it_records(
    storage: str, tmp_path: Path
) -> None:
    seen: list[Any] = []
    choices = [1, True, 1.0, 2]
    store = make_storage(storage, tmp_path)
    study = evolve(EPBTSampler(6, seed=0), 24, objective_of(choices, seen), storage=store)
    recorded = [trial.params["kind"] for trial in study.trials]
    assert [type(value) for value in seen] == [type(value) for value in recorded] == [int] * 24
    assert seen == recorded


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=3),
)
categories = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=2), inner, max_size=2),
    ),
    max_leaves=6,
)


@settings(max_examples=30, deadline=None)
@given(st.lists(categories, min_size=2, max_size=4, unique_by=json.dumps))
def test_any_category_that_a_journal_can_hold_is_inherited(choices: list[Any]) -> None:
    seen: list[Any] = []
    sampler = still(population_size=3, n_elites=0, seed=0)
    study = evolve(sampler, 9, objective_of(choices, seen), storage=_journal_in_memory())
    for child, parent in bred(study):
        assert repr(child.params["kind"]) == repr(parent.params["kind"])
        assert seen[child.number] is seen[parent.number]


def _journal_in_memory() -> BaseStorage:
    class Backend(optuna.storages.journal.BaseJournalBackend):
        def __init__(self) -> None:
            self.logs: list[str] = []

        def read_logs(self, log_number_from: int) -> Any:
            return [json.loads(log) for log in self.logs[log_number_from:]]

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            self.logs += [json.dumps(log) for log in logs]

    return JournalStorage(Backend())


# Numbers


@settings(max_examples=40, deadline=None)
@given(
    low=st.one_of(st.integers(-(10**9), 10**9), st.sampled_from([0, 10**6, -(10**8), 10**9])),
    exponent=st.integers(-6, 3),
    n_steps=st.integers(1, 10**7),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_point_of_any_grid_is_inherited_as_it_is(
    low: int, exponent: int, n_steps: int, seed: int
) -> None:
    step = float(f"1e{exponent}")
    high = low + step * n_steps
    sampler = still(population_size=3, n_elites=0, seed=seed)

    def objective(trial: optuna.Trial) -> float:
        return trial.suggest_float("x", low, high, step=step)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is not divisible by `step`")
        study = evolve(sampler, 9, objective)
    assert all(child.params == parent.params for child, parent in bred(study))


@settings(max_examples=40, deadline=None)
@given(
    low=st.integers(-(2**70), 2**70),
    width=st.integers(1, 2**70),
    step=st.integers(1, 1000),
    seed=st.integers(0, 2**32 - 1),
)
def test_integers_beyond_what_a_storage_can_hold_are_inherited_as_it_records_them(
    low: int, width: int, step: int, seed: int
) -> None:
    sampler = still(population_size=3, n_elites=0, seed=seed)

    def objective(trial: optuna.Trial) -> float:
        return trial.suggest_int("n", low, low + width * step, step=step) % 7

    study = evolve(sampler, 9, objective)
    assert all(child.params == parent.params for child, parent in bred(study))


def test_mutation_moves_on_a_fine_grid() -> None:
    study = evolve(EPBTSampler(6, seed=0), 60, lambda t: t.suggest_float("hz", 1e6, 2e6, step=1e-3))
    for trial in study.trials:
        n_steps = (trial.params["hz"] - 1e6) / 1e-3
        assert abs(n_steps - round(n_steps)) < 1e-5
