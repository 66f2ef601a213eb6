"""Every arm uses up the same steps and chooses by validation alone; a kill changes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from epbt_optuna import CheckpointStore
from examples.paper import ExperimentError
from examples.tuning import search
from examples.tuning.arms import ARMS, EPBTArm, PBTArm, SearchArm, arms_of
from examples.tuning.cnn import CNNLearner
from examples.tuning.population import make_sampler, steps_per_generation
from examples.tuning.results import Job
from examples.tuning.steps import StepLog
from examples.tuning.tasks import TASKS
from tests.tuning.jobs import CNN, TINY, TINY_PPO, run, without_times

TWO_GENERATIONS = replace(TINY, n_steps=4)  # of two steps each
ARMS_HERE = [name for name in ARMS["cnn"] if name != "ray-pbt"]


@pytest.mark.parametrize("name", [*ARMS_HERE, "epbt-averaged", "epbt-cosine", "epbt-more-elites"])
def test_every_arm_uses_up_the_same_steps_and_says_what_it_chose(
    tmp_path: Path, data_root: Path, name: str
) -> None:
    record = run(tmp_path, name, data_root)
    assert record["n_steps"] == TINY.budget == 12
    steps, seconds, validations, tests = zip(*record["incumbents"], strict=True)
    assert steps[0] == 1
    assert list(steps) == sorted(steps)
    assert list(seconds) == sorted(seconds)
    assert list(validations) == sorted(validations)
    assert all(0 <= test <= 100 for test in tests)
    assert seconds[-1] <= record["seconds"]
    assert 1 <= len(record["schedule"]) <= TINY.n_steps
    assert all(set(step) == set(TINY.space) for step in record["schedule"])


@pytest.mark.parametrize("name", ["epbt", "epbt-paper", "pbt"])
def test_the_population_is_as_large_as_uses_up_the_steps(name: str) -> None:
    arm = ARMS["cnn"][name]
    assert isinstance(arm, EPBTArm | PBTArm)
    sampler = make_sampler(arm, CNN, seed=0)
    assert sampler.n_trials(CNN.n_steps) == CNN.budget
    assert sampler.population_size == (2 * CNN.n_steps if name == "epbt-paper" else CNN.n_members)


def test_a_generation_may_be_several_steps_under_the_same_values(
    tmp_path: Path, data_root: Path
) -> None:
    record = run(tmp_path, "epbt-two-steps", data_root, TWO_GENERATIONS)
    assert record["n_steps"] == TWO_GENERATIONS.budget
    assert record["n_networks"] == TWO_GENERATIONS.budget / 2
    # The choice may be from the middle of a generation.
    pairs = list(zip(record["schedule"][::2], record["schedule"][1::2], strict=False))
    assert pairs
    assert all(first == second for first, second in pairs)


def test_a_generation_of_steps_that_do_not_add_up_to_the_task_raises() -> None:
    arm = EPBTArm("", steps_per_generation=2)
    with pytest.raises(ExperimentError, match="divide the 15 steps of task 'cnn' but got 2"):
        steps_per_generation(arm, CNN)


def test_a_search_trains_a_network_under_the_same_values_unless_they_fall_as_a_cosine(
    tmp_path: Path, data_root: Path
) -> None:
    constant = run(tmp_path, "random", data_root)["schedule"]
    assert all(step == constant[0] for step in constant)
    rates = [s["learning_rate"] for s in run(tmp_path, "random-cosine", data_root)["schedule"]]
    factors = [rate / rates[0] for rate in rates]
    assert factors == pytest.approx([1, 0.75, 0.25][: len(rates)], rel=1e-4)


def test_hyperband_trains_more_networks_for_the_same_steps(tmp_path: Path, data_root: Path) -> None:
    assert run(tmp_path, "random", data_root)["n_networks"] == TINY.n_members
    assert run(tmp_path, "tpe-hyperband", data_root)["n_networks"] > TINY.n_members


@pytest.mark.parametrize("name", ["epbt", "pbt", "tpe-hyperband"])
def test_what_is_chosen_does_not_depend_on_the_test_images(
    tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    true = run(tmp_path / "true", name, data_root)
    answers = iter(range(100, 0, -1))  # the longer it trains, the worse it tests
    monkeypatch.setattr(CNNLearner, "test", lambda *_: float(next(answers)))
    false = run(tmp_path / "false", name, data_root)
    assert [i[3] for i in false["incumbents"]] != [i[3] for i in true["incumbents"]]
    assert [[i[0], i[2]] for i in false["incumbents"]] == [[i[0], i[2]] for i in true["incumbents"]]
    assert false["schedule"] == true["schedule"]
    assert false["n_networks"] == true["n_networks"]


class KilledError(BaseException):
    """Stands for a kill: nothing catches it."""


# In the order in which a step comes by them.
PLACES: list[tuple[Any, str]] = [
    (CNNLearner, "train"),
    (CheckpointStore, "save"),
    (StepLog, "add"),
    (search, "write_state"),
    (optuna.Study, "tell"),
]


@pytest.mark.parametrize(
    "name", ["epbt", "epbt-paper", "epbt-two-steps", "random-cosine", "tpe-hyperband"]
)
def test_a_job_that_was_killed_anywhere_ends_as_one_that_was_not(
    tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    task = TWO_GENERATIONS if name == "epbt-two-steps" else TINY
    whole = run(tmp_path / "whole", name, data_root, task)
    searches = isinstance(arms_of("cnn")[name], SearchArm)
    for owner, method in PLACES:
        if owner is (CheckpointStore if searches else search):
            continue  # arms of the other kind save so
        kill_at_call(monkeypatch, owner, method, 2)
        with pytest.raises(KilledError):
            run(tmp_path / "killed", name, data_root, task)
        monkeypatch.undo()
    assert without_times(run(tmp_path / "killed", name, data_root, task)) == without_times(whole)


def kill_at_call(patch: pytest.MonkeyPatch, owner: Any, method: str, n: int) -> None:
    original, calls = getattr(owner, method), []

    def counted(*arguments: Any, **keywords: Any) -> Any:
        calls.append(1)
        if len(calls) == n:
            raise KilledError
        return original(*arguments, **keywords)

    patch.setattr(owner, method, counted)


def test_a_job_goes_on_with_the_settings_it_was_begun_with_only(
    tmp_path: Path, data_root: Path
) -> None:
    folder = tmp_path / "work" / TINY.name / "epbt-seed1"
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(json.dumps({"arm": {"sigma": 0.7}}))
    with pytest.raises(ExperimentError, match="other settings"):
        run(tmp_path, "epbt", data_root)


@pytest.mark.parametrize("name", ARMS["ppo"])
def test_every_arm_tunes_ppo(tmp_path: Path, name: str) -> None:
    record = run(tmp_path, name, task=TINY_PPO)
    assert record["n_steps"] == TINY_PPO.budget
    assert all(-3_255 <= test <= 0 for *_, test in record["incumbents"])
    arm = arms_of("ppo")[name]
    if isinstance(arm, SearchArm) and arm.constants:
        assert all(step == dict(arm.constants) for step in record["schedule"])


def test_no_two_arms_of_a_task_are_the_same() -> None:
    for task in ARMS:
        settings = [
            json.dumps(Job(TASKS[task], "", arm, 0).settings) for arm in arms_of(task).values()
        ]
        assert len(set(settings)) == len(settings)
