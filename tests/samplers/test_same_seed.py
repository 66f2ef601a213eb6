"""What is reproducible: seeds, processes, pickles, threads and storages."""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage

from epbt_optuna import EPBTSampler, PBTSampler
from epbt_optuna.journal import journal_storage
from tests.replay import check_lineage, lineage_of
from tests.samplers.studies import (
    SUGGESTIONS,
    AnySampler,
    both_samplers,
    eventful,
    evolve,
    fitness_of,
    plain,
    record_of,
    rules_of,
)

ROOT = Path(__file__).parents[2]


def seeded_run(seed: int, order: tuple[str, ...] = tuple(SUGGESTIONS)) -> optuna.Study:
    def objective(trial: optuna.Trial) -> float:
        for name in order:
            SUGGESTIONS[name](trial)
        return fitness_of(trial.number)

    return evolve(EPBTSampler(6, seed=seed), 24, objective)


def recorded_runs(seed: int) -> list[Any]:
    """What another process has to come to as well, on its own."""
    space = {name: FloatDistribution(0, 1) for name in ("x", "y", "z", "u", "v", "w")}

    def objective(trial: optuna.Trial) -> float:
        return sum(trial.suggest_float(name, 0, 1) for name in space)

    samplers: list[AnySampler] = [
        EPBTSampler(6, seed=seed),
        PBTSampler(6, seed=seed),
        EPBTSampler(6, seed=seed, search_space=space),
        EPBTSampler(6, seed=seed, search_space=space, initial_sampler=RandomSampler(seed=seed)),
    ]
    return [record_of(evolve(sampler, 18, objective)) for sampler in samplers]


@both_samplers
def test_the_same_seed_gives_the_same_study(sampler_class: type[AnySampler]) -> None:
    one, other = (evolve(sampler_class(6, seed=5), 30, eventful) for _ in range(2))
    assert record_of(one) == record_of(other)


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_same_seed_gives_the_same_study_in_another_process(hash_seed: str) -> None:
    script = (
        "import json; from tests.samplers.test_same_seed import recorded_runs;"
        "print(json.dumps(recorded_runs(5)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert json.loads(result.stdout) == recorded_runs(5)


@both_samplers
def test_a_seed_that_differs_gives_another_study_from_the_first_trial_on(
    sampler_class: type[AnySampler],
) -> None:
    one, other = (evolve(sampler_class(4, seed=seed), 12) for seed in (5, 6))
    assert all(a.params != b.params for a, b in zip(one.trials, other.trials, strict=True))


@both_samplers
def test_without_a_seed_two_samplers_differ(sampler_class: type[AnySampler]) -> None:
    one, other = (evolve(sampler_class(4), 4) for _ in range(2))
    assert all(a.params != b.params for a, b in zip(one.trials, other.trials, strict=True))


@both_samplers
@pytest.mark.parametrize("duplicate", [lambda s: pickle.loads(pickle.dumps(s)), copy.deepcopy])
@pytest.mark.parametrize("seed", [5, None])
def test_a_sampler_that_was_pickled_in_mid_run_goes_on_as_if_it_were_not(
    sampler_class: type[AnySampler], duplicate: Callable[[Any], Any], seed: int | None
) -> None:
    sampler = sampler_class(6, seed=seed)
    study = evolve(sampler, 15, eventful)
    copies = duplicate(sampler)
    whole = evolve(duplicate(sampler), 30, eventful)
    study.sampler = copies
    study.optimize(eventful, n_trials=15)
    assert record_of(study) == record_of(whole)


def test_the_order_in_which_params_are_suggested_does_not_matter() -> None:
    forward = seeded_run(5)
    backward = seeded_run(5, tuple(reversed(SUGGESTIONS)))
    for one, other in zip(forward.trials, backward.trials, strict=True):
        assert one.params == other.params
        assert lineage_of(one) == lineage_of(other)


def test_reseeding_between_trials_as_optuna_does_for_threads_changes_nothing() -> None:
    study = optuna.create_study(direction="maximize", sampler=EPBTSampler(6, seed=5))
    for _ in range(24):
        study.sampler.reseed_rng()
        study.optimize(plain, n_trials=1)
    assert record_of(study) == record_of(seeded_run(5))


@contextmanager
def storage_of_kind(kind: str, folder: Path) -> Iterator[BaseStorage]:
    if kind == "sqlite":
        storage = RDBStorage(f"sqlite:///{folder / 'study.db'}")
        yield storage
        storage.engine.dispose()
    elif kind == "journal":
        yield journal_storage(folder / "study.log")
    else:
        yield InMemoryStorage()


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_every_storage_gives_the_same_study_also_when_the_run_is_resumed(
    kind: str, tmp_path: Path
) -> None:
    expected = record_of(evolve(EPBTSampler(6, seed=5), 21, eventful))
    with storage_of_kind(kind, tmp_path) as storage:
        study = optuna.create_study(
            study_name="s", direction="maximize", sampler=EPBTSampler(6, seed=5), storage=storage
        )
        study.optimize(eventful, n_trials=10)
    with storage_of_kind(kind, tmp_path) as storage:
        resumed = optuna.load_study(study_name="s", sampler=EPBTSampler(6, seed=5), storage=storage)
        resumed.optimize(eventful, n_trials=11)
        assert record_of(resumed) == expected


def test_numpys_integers_are_good_for_every_storage(tmp_path: Path) -> None:
    size: Any = np.int64(4)
    with storage_of_kind("sqlite", tmp_path) as storage:
        study = evolve(EPBTSampler(size, n_elites=size // 2, seed=size), 7, storage=storage)
        assert record_of(study) == record_of(evolve(EPBTSampler(4, seed=4), 7))


def test_one_sampler_serves_several_studies_without_mixing_them() -> None:
    sampler = EPBTSampler(6, seed=5)
    storage = InMemoryStorage()
    studies = [
        optuna.create_study(direction=direction, sampler=sampler, storage=storage)
        for direction in ("maximize", "minimize")
    ]
    for _ in range(24):
        for study in studies:
            study.optimize(plain, n_trials=1)
    assert record_of(studies[0]) == record_of(seeded_run(5))
    for study in studies:
        check_lineage(study.trials, rules_of(sampler, study))


def test_founders_are_uniform_and_their_variables_independent() -> None:
    n = 2000
    study = evolve(
        EPBTSampler(n, seed=0),
        n,
        lambda trial: trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1),
    )
    draws = np.array([[trial.params["x"], trial.params["y"]] for trial in study.trials])
    for column in draws.T:
        counts = np.histogram(column, bins=20, range=(0, 1))[0]
        assert ((counts - n / 20) ** 2 / (n / 20)).sum() < 19 + 5 * math.sqrt(2 * 19)
        assert abs(np.corrcoef(column[:-1], column[1:])[0, 1]) < 5 / math.sqrt(n)
    assert abs(np.corrcoef(draws.T)[0, 1]) < 5 / math.sqrt(n)


@given(st.integers(0, 2**200), st.integers(0, 2**31), st.integers(0, 2), st.integers(0, 2**32 - 1))
def test_the_streams_are_those_of_numpys_default_generator(
    seed: int, number: int, purpose: int, name: int
) -> None:
    sampler = EPBTSampler(seed=seed)
    for key in ((number, purpose), (number, purpose, name)):
        own, numpys = sampler._rng(*key), np.random.default_rng([seed, *key])
        assert own.bit_generator.state == numpys.bit_generator.state
