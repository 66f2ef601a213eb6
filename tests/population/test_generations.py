"""The arithmetic of generations, and its record in a study."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epbt_optuna import PBTSampler
from epbt_optuna._internal.attrs import Attr, AttrError
from epbt_optuna._internal.optuna import read_study_attrs, write_study_attr
from epbt_optuna.population import Generations


def a_study() -> optuna.Study:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))


def test_the_papers_25_generations_of_40_with_20_elites_are_520_trials() -> None:
    assert Generations(40, 20).n_trials(25) == 520


@pytest.mark.parametrize(
    ("population_size", "n_elites", "starts"),
    [
        (4, 2, [0, 4, 6, 8]),
        (3, 0, [0, 3, 6, 9]),
        (5, 4, [0, 5, 6, 7]),
        (2, 1, [0, 2, 3, 4]),
        (1, 0, [0, 1, 2, 3]),
    ],
)
def test_generations_start_where_the_last_one_ended(
    population_size: int, n_elites: int, starts: list[int]
) -> None:
    generations = Generations(population_size, n_elites)
    assert [generations.numbers(g).start for g in range(4)] == starts
    assert [generations.n_trials(g) for g in range(4)] == starts


@given(st.integers(1, 50), st.booleans(), st.data())
def test_every_number_is_in_the_one_generation_that_it_says(
    size: int, train_elites: bool, data: st.DataObject
) -> None:
    n_elites = data.draw(st.integers(0, size - 1))
    generations = Generations(size, n_elites, train_elites)
    numbers = [(number, g) for g in range(6) for number in generations.numbers(g)]
    assert [number for number, _ in numbers] == list(range(generations.n_trials(6)))
    assert all(generations.of(number) == g for number, g in numbers)
    slots = [number for number, _ in numbers if generations.is_slot(number)]
    if train_elites:
        assert all(number // size == g for number, g in numbers)
        assert slots == [g * size + j for g in range(1, 6) for j in range(n_elites)]
    else:
        assert slots == []


@pytest.mark.parametrize(
    ("population_size", "n_elites", "error", "message"),
    [
        (0, 0, ValueError, "`population_size` must be at least 1 but got 0."),
        (-4, 0, ValueError, "`population_size` must be at least 1 but got -4."),
        (4.0, 2, TypeError, "`population_size` must be an integer but got 4.0."),
        (True, 0, TypeError, "`population_size` must be an integer but got True."),
        (None, 0, TypeError, "`population_size` must be an integer but got None."),
        (4, -1, ValueError, "`n_elites` must be at least 0 but got -1."),
        (4, 4, ValueError, "`n_elites` must be at most 3 but got 4."),
        (4, 2.0, TypeError, "`n_elites` must be an integer but got 2.0."),
        (4, False, TypeError, "`n_elites` must be an integer but got False."),
    ],
)
def test_a_population_that_cannot_be_is_refused_by_name_rule_and_value(
    population_size: Any, n_elites: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        Generations(population_size, n_elites)


def test_numpys_integers_become_pythons_own_since_records_are_json() -> None:
    size: Any = np.int64(4)
    generations = Generations(size, size - 2)
    assert type(generations.of(5)) is int
    assert generations == Generations(4, 2)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ((1, 0.0), TypeError, "`train_elites` must be True or False but got 1."),
        ((True, -0.1), ValueError, "`fitness_smoothing` must be in [0, 1) but got -0.1."),
        ((True, 1), ValueError, "`fitness_smoothing` must be in [0, 1) but got 1."),
        ((False, math.nan), ValueError, "`fitness_smoothing` must be finite but got nan."),
        ((False, "a"), TypeError, "`fitness_smoothing` must be a number but got 'a'."),
        ((False, True), TypeError, "`fitness_smoothing` must be a number but got True."),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name_rule_and_value(
    settings: tuple[Any, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        Generations(4, 2, *settings)


SETTINGS = [(False, 0.0), (True, 0.0), (False, 0.5), (True, 0.5)]


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_arithmetic_is_read_back_from_the_study(settings: tuple[bool, float]) -> None:
    study = a_study()
    assert Generations.recorded(study) is None
    for _ in range(2):
        Generations(4, 2, *settings).record(study)
    assert Generations.recorded(study) == Generations(4, 2, *settings)


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_release_that_does_not_know_the_settings_reads_a_study_only_without_them(
    settings: tuple[bool, float],
) -> None:
    study = a_study()
    Generations(4, 2, *settings).record(study)
    attrs = read_study_attrs(study)
    earlier = Attr("epbt:generations", {"population_size": (int,), "n_elites": (int,)})
    if settings == (False, 0.0):
        assert earlier.of_study(study, attrs) == attrs["epbt:generations"]
        return
    with pytest.raises(AttrError, match="it is of version 2, but this release of epbt_optuna"):
        earlier.of_study(study, attrs)


def test_a_study_keeps_the_arithmetic_that_it_was_begun_with() -> None:
    study = a_study()
    Generations(4, 2).record(study)
    with pytest.raises(ValueError, match="begun with a population_size of 4 and 2 elites"):
        Generations(4, 1).record(study)
    with pytest.raises(ValueError, match=r"2 elites, train_elites=False .* has .*=True and"):
        Generations(4, 2, train_elites=True).record(study)
    with pytest.raises(ValueError, match=r"fitness_smoothing=0, .* has .*fitness_smoothing=0\.5\."):
        Generations(4, 2, fitness_smoothing=0.5).record(study)
    assert Generations.recorded(study) == Generations(4, 2)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("train_elites", 1, "`train_elites` must be of type bool but is 1"),
        ("fitness_smoothing", "0.5", "`fitness_smoothing` must be of type float but is '0.5'"),
        ("fitness_smoothing", 1.0, "`fitness_smoothing` must be in [0, 1) but got 1.0"),
    ],
)
def test_a_damaged_record_of_the_settings_is_named(field: str, value: Any, problem: str) -> None:
    study = a_study()
    record = {"population_size": 4, "n_elites": 2, "version": 2, field: value}
    write_study_attr(study, "epbt:generations", record)
    with pytest.raises(AttrError, match=re.escape(f"cannot be read: {problem}")):
        Generations.recorded(study)


def test_pbt_has_neither_setting() -> None:
    for setting in ("train_elites", "fitness_smoothing"):
        with pytest.raises(TypeError, match=setting):
            PBTSampler(4, **{setting: 0})  # type: ignore[arg-type]
