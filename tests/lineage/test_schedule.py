"""Schedules: what they hold, and that files give back what was written."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from epbt_optuna import EPBTSampler, PBTSampler
from epbt_optuna.genome import Genome
from epbt_optuna.lineage import Schedule, ScheduleStep, ancestry
from epbt_optuna.testing.strategies import genomes
from tests.lineage.studies import BAD_STUDIES, evolve, only_failed

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-4, 1, log=True),
    "width": IntDistribution(1, 64),
    "kind": CategoricalDistribution(["relu", None, True]),
}


def make_schedule(*lengths: int) -> Schedule:
    """A schedule whose step i has a width of i + 1."""
    steps = tuple(
        ScheduleStep(i, 10 * i, length, {"lr": 0.1, "width": i + 1, "kind": None})
        for i, length in enumerate(lengths)
    )
    return Schedule("made", SPACE, steps)


# What is read from a study


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("sampler", [EPBTSampler(8, seed=0), PBTSampler(6, seed=0)])
def test_a_schedule_is_the_params_along_an_ancestry(sampler: Any, direction: Any) -> None:
    study = evolve(sampler, direction=direction)
    schedule = Schedule.from_study(study)
    assert schedule.study_name == "evolved"
    assert len(schedule) == len(schedule.steps) == len(ancestry(study))
    for step, trial in zip(schedule.steps, ancestry(study), strict=True):
        assert (step.trial, step.params) == (trial.number, trial.params)
        assert step.generation == sampler.generation_of(trial.number)
        assert step.n_reports == 1 + trial.number % 3
    assert schedule.distributions == study.best_trial.distributions


def test_the_schedule_of_any_trial_can_be_had() -> None:
    study = evolve()
    pruned = next(t for t in reversed(study.trials) if t.state == TrialState.PRUNED)
    schedule = Schedule.from_study(study, pruned.number)
    assert schedule == Schedule.from_study(study, pruned)
    assert schedule.steps[-1].trial == pruned.number


@pytest.mark.parametrize(
    ("make_study", "message"),
    [
        *BAD_STUDIES.values(),
        (only_failed, "Study 'failed' has no best trial: none of its 5 trials"),
    ],
)
def test_a_study_without_a_schedule_is_refused_in_a_sentence(
    make_study: Callable[[], optuna.Study], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        Schedule.from_study(make_study())


def test_a_trial_that_does_not_exist_has_no_schedule() -> None:
    with pytest.raises(ValueError, match="whose last is trial 59, but got 60"):
        Schedule.from_study(evolve(), 60)


def test_a_range_that_has_changed_is_the_last_trials_own() -> None:
    def objective(trial: optuna.Trial) -> float:
        return trial.number + trial.suggest_float("x", 0, 1 if trial.number < 4 else 0.01)

    schedule = Schedule.from_study(evolve(EPBTSampler(4, seed=0), objective=objective, n_trials=6))
    assert schedule.distributions == {"x": FloatDistribution(0, 0.01)}
    assert schedule.steps[0].params["x"] > 0.01
    assert Schedule.from_json(schedule.to_json()) == schedule


def test_a_parameter_that_only_some_steps_have_is_absent_from_the_others() -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number < 4:
            trial.suggest_float("early", 0, 1)
        return trial.number + trial.suggest_float("x", 0, 1)

    schedule = Schedule.from_study(evolve(EPBTSampler(4, seed=0), objective=objective, n_trials=6))
    assert set(schedule.distributions) == {"early", "x"}
    assert "early" not in schedule.steps[-1].params
    assert json.loads(schedule.to_json())["steps"][-1]["params"]["early"] == {"absent": True}
    assert Schedule.from_json(schedule.to_json()) == schedule


# Epochs


def test_epochs_are_reports_counted_along_the_steps() -> None:
    schedule = make_schedule(2, 0, 1)
    assert schedule.n_epochs == 3
    assert [params["width"] for params in schedule.by_epoch()] == [1, 1, 3]
    assert [schedule.params_at(epoch)["width"] for epoch in range(3)] == [1, 1, 3]
    assert len(schedule) == 3


@pytest.mark.parametrize(
    ("epoch", "error", "message"),
    [
        (3, ValueError, "`epoch` must be at most 2 but got 3."),
        (-1, ValueError, "`epoch` must be at least 0 but got -1."),
        (0.5, TypeError, "`epoch` must be an integer but got 0.5."),
    ],
)
def test_an_epoch_that_the_schedule_does_not_have_is_refused(
    epoch: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        make_schedule(2, 0, 1).params_at(epoch)


def test_without_reports_there_are_no_epochs_and_the_message_says_why() -> None:
    with pytest.raises(ValueError, match=r"none of its 2 trials reported anything\. Call"):
        make_schedule(0, 0).params_at(0)
    with pytest.raises(ValueError, match=r"Call `trial.report` once an epoch, or go by `schedule"):
        make_schedule(0, 0).by_epoch()


def test_what_a_schedule_hands_out_cannot_change_it() -> None:
    schedule = make_schedule(1)
    schedule.params_at(0)["lr"] = 5.0
    params: Any = next(schedule.by_epoch())
    with pytest.raises(TypeError):
        params["lr"] = 5.0
    with pytest.raises(FrozenInstanceError):
        schedule.study_name = "other"  # type: ignore[misc]
    assert schedule == make_schedule(1)


# Checks


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"params": {"depth": 3}}, ValueError, "`steps[0]` has a parameter 'depth' without a dist"),
        (
            {"params": {"lr": "fast"}},
            ValueError,
            "`steps[0]` has a parameter 'lr' that must be a number but is 'fast'.",
        ),
        ({"params": {"lr": True}}, ValueError, "`steps[0]` has a parameter 'lr' that must be a nu"),
        ({"params": {"width": 1.5}}, ValueError, "`steps[0]` has a parameter 'width' that must be"),
        (
            {"params": {"kind": 1}},
            ValueError,
            "`steps[0]` has a parameter 'kind' that must be one of ('relu', None, True) but is 1.",
        ),
        ({"trial": -1}, ValueError, "`steps[0].trial` must be at least 0 but got -1."),
        ({"generation": 0.5}, TypeError, "`steps[0].generation` must be an integer but got 0.5."),
        ({"n_reports": -2}, ValueError, "`steps[0].n_reports` must be at least 0 but got -2."),
    ],
)
def test_a_step_that_cannot_be_is_refused_by_its_place(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    step = replace(make_schedule(1).steps[0], **change)
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        Schedule("made", SPACE, (step,))


def test_a_schedule_without_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="`steps` must have at least one step but is empty"):
        Schedule("made", SPACE, ())


# Files


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """Schedules over every kind of distribution, some parameters absent from some steps."""
    individuals: list[Genome] = [draw(genomes(min_size=0, max_size=4))]
    space = individuals[0].distributions
    values = individuals[0].params
    n_steps = draw(st.integers(1, 4))
    present = draw(
        st.lists(
            st.lists(st.sampled_from(sorted(space)), unique=True) if space else st.just([]),
            min_size=n_steps,
            max_size=n_steps,
        )
    )
    numbers = st.integers(0, 2**40)
    return Schedule(
        draw(st.text()),
        space,
        tuple(
            ScheduleStep(draw(numbers), draw(numbers), draw(numbers), {n: values[n] for n in names})
            for names in present
        ),
    )


@given(schedules())
def test_a_schedule_round_trips_through_json(schedule: Schedule) -> None:
    again = Schedule.from_json(schedule.to_json())
    assert again == schedule
    for step, other in zip(schedule.steps, again.steps, strict=True):
        assert [(n, repr(v)) for n, v in step.params.items()] == [
            (n, repr(other.params[n])) for n in step.params
        ]


CATEGORIES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())


@given(
    st.lists(CATEGORIES, min_size=1, max_size=4),
    st.floats(allow_nan=False),
    st.integers(-(2**70), 2**70),
)
def test_every_value_reads_back_as_it_was(choices: list[Any], number: float, integer: int) -> None:
    space: dict[str, BaseDistribution] = {
        "category": CategoricalDistribution(choices),
        "number": FloatDistribution(-math.inf, math.inf),
        "integer": IntDistribution(-(2**70), 2**70),
    }
    params = {"category": choices[0], "number": number, "integer": integer}
    schedule = Schedule("made", space, (ScheduleStep(0, 0, 1, params),))
    text = schedule.to_json()
    json.loads(text, parse_constant=pytest.fail)  # strict JSON: no NaN, no Infinity
    again = Schedule.from_json(text)
    assert repr(again.steps[0].params) == repr(params)
    assert repr(again.distributions) == repr(space)


def test_a_file_holds_the_schedule(tmp_path: Path) -> None:
    schedule = Schedule.from_study(evolve())
    schedule.save(tmp_path / "schedule.json")
    assert Schedule.load(tmp_path / "schedule.json") == schedule
    assert Schedule.load(str(tmp_path / "schedule.json")) == schedule


def test_the_format_is_the_one_that_is_documented() -> None:
    assert json.loads(make_schedule(2).to_json()) == {
        "version": 1,
        "study_name": "made",
        "distributions": {
            "lr": {
                "name": "FloatDistribution",
                "attributes": {"step": None, "low": 1e-4, "high": 1.0, "log": True},
            },
            "width": {
                "name": "IntDistribution",
                "attributes": {"log": False, "step": 1, "low": 1, "high": 64},
            },
            "kind": {
                "name": "CategoricalDistribution",
                "attributes": {"choices": ["relu", None, True]},
            },
        },
        "steps": [
            {
                "generation": 0,
                "trial": 0,
                "n_reports": 2,
                "params": {"lr": 0.1, "width": 1, "kind": None},
            }
        ],
    }


def test_categories_that_json_does_not_have_are_refused_when_written() -> None:
    pair: Any = (1, 2)
    with pytest.warns(UserWarning, match="Choices for a categorical distribution"):
        space: dict[str, BaseDistribution] = {"pair": CategoricalDistribution([pair])}
    schedule = Schedule("made", space, (ScheduleStep(0, 0, 1, {"pair": pair}),))
    with pytest.raises(TypeError, match=r"'pair' must be None, a boolean, a number or a string"):
        schedule.to_json()


def nested(levels: int) -> Any:
    return json.loads('{"a":' * levels + "1" + "}" * levels)


def edit(change: Callable[[Any], None]) -> str:
    """Return the JSON of a schedule after a change to the document."""
    document = json.loads(make_schedule(1, 2).to_json())
    change(document)
    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "It is not JSON: Expecting value"),
        ("{", "It is not JSON: Expecting property name"),
        ("[" * 100_000, "The JSON is nested too deeply."),
        pytest.param(
            edit(lambda d: d["distributions"].update(x=nested(600))),
            "`distributions.x` is nested too deeply.",
            id="deep",
        ),
        ("NaN", "It is not JSON: NaN is no value there."),
        ("[]", "`the document` must be an object but got []."),
        ("{}", "`version` is missing."),
        (edit(lambda d: d.update(version=2)), "`version` must be 1 but got 2: another release"),
        (edit(lambda d: d.update(version="1")), "`version` must be an integer but got '1'."),
        (edit(lambda d: d.update(version=True)), "`version` must be an integer but got True."),
        (edit(lambda d: d.pop("study_name")), "`study_name` is missing."),
        (edit(lambda d: d.update(study_name=None)), "`study_name` must be a string but got None."),
        (edit(lambda d: d.pop("steps")), "`steps` is missing."),
        (edit(lambda d: d.update(steps={})), "`steps` must be a list but got {}."),
        (edit(lambda d: d.update(steps=[])), "`steps` must have at least one step but is empty."),
        (edit(lambda d: d.update(steps=[7])), "`steps[0]` must be an object but got 7."),
        (edit(lambda d: d["steps"][1].pop("trial")), "`steps[1].trial` is missing."),
        (
            edit(lambda d: d["steps"][1].update(trial=1.0)),
            "`steps[1].trial` must be an integer but got 1.0.",
        ),
        (
            edit(lambda d: d["steps"][1].update(n_reports=-1)),
            "`steps[1].n_reports` must be at least 0 but got -1.",
        ),
        (
            edit(lambda d: d["steps"][1]["params"].pop("lr")),
            "`steps[1].params` lacks the parameter 'lr'.",
        ),
        (
            edit(lambda d: d["steps"][1]["params"].update(lr="0.1")),
            "`steps[1]` has a parameter 'lr' that must be a number but is '0.1'.",
        ),
        (
            edit(lambda d: d["steps"][1]["params"].update(lr={"float": "fast"})),
            "`steps[1].params.lr` must be a hyperparameter's value but got {'float': 'fast'}.",
        ),
        (
            edit(lambda d: d["steps"][1]["params"].update(lr=[0.1])),
            "`steps[1]` has a parameter 'lr' that must be a number but is [0.1].",
        ),
        (
            edit(lambda d: d["steps"][1]["params"].update(depth=3)),
            "`steps[1]` has a parameter 'depth' without a distribution.",
        ),
        (
            edit(lambda d: d["distributions"].pop("lr")),
            "`steps[0]` has a parameter 'lr' without a distribution.",
        ),
        (
            edit(lambda d: d["distributions"].update(lr=3)),
            "`distributions.lr` must be a distribution as Optuna writes it but got 3",
        ),
        (
            edit(lambda d: d["distributions"]["lr"].update(name="Cauchy")),
            "`distributions.lr` must be a distribution as Optuna writes it but got {'name'",
        ),
        (
            edit(lambda d: d["distributions"]["width"]["attributes"].update(low="x")),
            "`distributions.width` must be a distribution as Optuna writes it but got {'name'",
        ),
    ],
)
@pytest.mark.usefixtures("usual_recursion_limit")
def test_what_is_no_schedule_is_refused_with_what_and_where(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        Schedule.from_json(text)
    path = tmp_path / "schedule.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"^{re.escape(f'{path} is no schedule: {message}')}"):
        Schedule.load(path)


def test_a_file_that_is_not_text_is_no_schedule(tmp_path: Path) -> None:
    path = tmp_path / "schedule.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="is no schedule"):
        Schedule.load(path)
    with pytest.raises(FileNotFoundError):
        Schedule.load(tmp_path / "nowhere.json")
