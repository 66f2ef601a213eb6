"""Replaying categories that a database cannot hold as they are: the objective gets its own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest

from epbt_optuna import EPBTSampler, resume
from epbt_optuna.journal import journal_storage
from epbt_optuna.lineage import ReplaySampler, Schedule

pytestmark = pytest.mark.filterwarnings("ignore:Choices for a categorical distribution")


@pytest.mark.parametrize(
    "choices",
    [
        [(64,), (64, 64)],
        [(1, (2, 3)), ()],
        [(64, 64)],
        [math.nan, "a"],
        [math.nan],
        [True, False, None],
        [[1], [2]],
    ],
    ids=repr,
)
@pytest.mark.parametrize("from_file", [False, True])
@pytest.mark.parametrize("in_memory", [False, True])
def test_a_replay_suggests_the_objectives_own_categories(
    choices: list[Any], from_file: bool, in_memory: bool, tmp_path: Path
) -> None:
    def objective(trial: optuna.Trial) -> float:
        value = trial.suggest_categorical("c", choices)
        places.append([repr(choice) for choice in choices].index(repr(value)))
        return trial.number

    places: list[int] = []
    storage = journal_storage(tmp_path / "study.log")
    study = optuna.create_study(
        storage=storage, direction="maximize", sampler=EPBTSampler(4, seed=0)
    )
    study.optimize(objective, n_trials=12)
    schedule = Schedule.from_study(study)
    if from_file:
        schedule = Schedule.from_json(schedule.to_json())
    wanted = [places[step.trial] for step in schedule.steps]

    places.clear()
    sampler = ReplaySampler(schedule)
    replay = optuna.create_study(storage=None if in_memory else storage, sampler=sampler)
    replay.optimize(objective, n_trials=len(schedule))
    assert places == wanted


@pytest.mark.parametrize("choices", [[math.nan, "a"], [math.nan], [True, 1.5, None]], ids=repr)
def test_a_step_that_is_retried_has_the_steps_own_category(
    choices: list[Any], tmp_path: Path
) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.suggest_categorical("c", choices)
        return trial.number

    storage = journal_storage(tmp_path / "study.log")
    study = optuna.create_study(storage=storage, sampler=EPBTSampler(4, seed=0))
    study.optimize(objective, n_trials=4)
    sampler = ReplaySampler(Schedule.from_study(study))
    replay = optuna.create_study(storage=storage, sampler=sampler)
    objective(replay.ask())
    resume(replay, replay.trials[0])
    replay.optimize(objective, n_trials=1)
    assert sampler.position(replay.trials[1]).index == 0
    assert repr(replay.trials[1].params) == repr(replay.trials[0].params)
