"""Trials that come from another study are founders, whatever they bring; and every walk ends."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import CheckpointStore, EPBTSampler, resume
from epbt_optuna.lineage import (
    ReplaySampler,
    Schedule,
    ancestry,
    lineage_dataframe,
    lineage_graph,
    summarize_generations,
)
from epbt_optuna.visualization._figure_data.lineage import lineage_info


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> CheckpointStore:
    return CheckpointStore(tmp_path_factory.mktemp("checkpoints"))


def objective_with(checkpoints: CheckpointStore) -> Callable[[optuna.Trial], float]:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        study = trial.study.study_name
        path = checkpoints.inherit(trial) or []
        checkpoints.save(trial, [*path, f"{study} {trial.number}"])
        trial.report(x, len(path))
        return len(path) + x

    return objective


def make(name: str, checkpoints: CheckpointStore, n_trials: int, **options: Any) -> optuna.Study:
    sampler = EPBTSampler(4, seed=0, **options)
    study = optuna.create_study(study_name=name, direction="maximize", sampler=sampler)
    study.optimize(objective_with(checkpoints), n_trials=n_trials)
    return study


@pytest.fixture(scope="module")
def source(checkpoints: CheckpointStore) -> list[FrozenTrial]:
    """Trials of every state, a retry and one that waits among them."""
    study = make("source", checkpoints, 12)
    for state in (TrialState.FAIL, TrialState.PRUNED):
        study.tell(study.ask(), state=state)
    cut_off = study.ask()
    checkpoints.save(cut_off, ["a stranger's"], final=False)
    resume(study, study.trials[cut_off.number])
    study.optimize(objective_with(checkpoints), n_trials=3)
    resume(study, study.trials[12])
    return study.trials


def check_every_reader(study: optuna.Study) -> None:
    """Each reader ends, and says of every trial what its checkpoint says."""
    lineage_graph(study)
    lineage_dataframe(study)
    lineage_info(study)
    summarize_generations(study)


@settings(max_examples=30)
@given(order=st.lists(st.integers(0, 16), unique=True, min_size=1), n_own=st.integers(0, 5))
def test_a_line_is_what_the_weights_were_trained_along_whatever_trials_are_added(
    source: list[FrozenTrial], checkpoints: CheckpointStore, order: list[int], n_own: int
) -> None:
    study = make("target", checkpoints, n_own)
    study.add_trials([source[n] for n in order])
    study.optimize(objective_with(checkpoints), n_trials=6)
    check_every_reader(study)
    for trial in study.get_trials(states=[TrialState.COMPLETE]):
        along = checkpoints.load(trial)
        line = ancestry(study, trial)
        assert [checkpoints.load(t)[-1] for t in line] == along[-len(line) :]
        assert len(Schedule.from_study(study, trial).steps) == len(line)


def test_a_waiting_trial_of_another_study_is_an_enqueued_one_like_any_other(
    source: list[FrozenTrial], checkpoints: CheckpointStore
) -> None:
    waiting = source[-1]
    assert waiting.state == TrialState.WAITING
    study = make("target", checkpoints, 4)
    study.add_trial(waiting)
    trial = study.ask()
    (own,) = [t for t in study.trials if t.number == trial.number]
    record = own.system_attrs["epbt:lineage"]
    assert record["parent"] in range(4)
    assert checkpoints.inherit(trial) == [f"target {record['parent']}"]


def test_a_copy_of_a_study_reads_as_the_original(
    checkpoints: CheckpointStore, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    sampler = EPBTSampler(4, seed=0)
    study = optuna.create_study(study_name="a", storage=url, sampler=sampler, direction="maximize")
    study.optimize(objective_with(checkpoints), n_trials=8)
    optuna.copy_study(from_study_name="a", from_storage=url, to_storage=url, to_study_name="b")
    copy = optuna.load_study(study_name="b", storage=url, sampler=sampler)
    assert [t.number for t in ancestry(copy)] == [t.number for t in ancestry(study)]
    copy.optimize(objective_with(checkpoints), n_trials=4)
    check_every_reader(copy)
    assert [t.number for t in ancestry(copy)] == [
        int(name.split()[1]) for name in checkpoints.load(copy.best_trial)
    ]


def test_a_replay_goes_on_after_its_own_trials_not_after_another_replays(
    checkpoints: CheckpointStore,
) -> None:
    schedule = Schedule.from_study(make("source", checkpoints, 12), 11)
    assert len(schedule) > 1
    sampler = ReplaySampler(schedule)

    def replay(name: str) -> optuna.Study:
        return optuna.create_study(study_name=name, sampler=sampler)

    first = replay("first")
    first.optimize(objective_with(checkpoints), n_trials=1)
    second = replay("second")
    second.add_trials(first.trials)
    second.optimize(objective_with(checkpoints), n_trials=1)
    assert sampler.position(second.trials[1]).index == 0
    waiting = optuna.create_trial(
        state=TrialState.WAITING, system_attrs=first.trials[0].system_attrs
    )
    second.add_trial(waiting)
    second.optimize(objective_with(checkpoints), n_trials=1)
    assert sampler.position(second.trials[2]).index == 1
    assert checkpoints.load(second.trials[2]) == ["second 1", "second 2"]


@pytest.mark.parametrize(
    "parents",
    [{4: 5, 5: 4}, {4: 4}, {4: 6, 5: 4, 6: 5}, {5: 10**6}, {6: 4}, {4: -1}],
    ids=["a loop of two", "itself", "a loop of three", "nobody", "a sibling", "before the first"],
)
def test_numbers_that_form_a_loop_or_point_forward_are_named_by_every_reader(
    checkpoints: CheckpointStore, parents: dict[int, int]
) -> None:
    study = make("looped", checkpoints, 8, n_elites=1)
    storage: Any = study._storage
    for number, parent in parents.items():
        trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
        record = {**study.trials[number].system_attrs["epbt:lineage"], "parent": parent}
        storage._get_trial(trial_id).system_attrs["epbt:lineage"] = record
    message = rf"^Trial ({'|'.join(map(str, parents))}) has an attr 'epbt:lineage' that cannot be"
    for read in (lineage_graph, lineage_dataframe, lineage_info):
        with pytest.raises(ValueError, match=message):
            read(study)
    for number in parents:
        with pytest.raises(ValueError, match=message):
            ancestry(study, number)
        with pytest.raises(ValueError, match=message):
            Schedule.from_study(study, number)


def test_every_parent_comes_before_its_child(checkpoints: CheckpointStore) -> None:
    study = make("plain", checkpoints, 20)
    for parent, child in pairwise(ancestry(study)):
        assert parent.number < child.number
