"""Studies of version 0.1 (`tests.data.make_version_0_1`) are read, continued, and collected."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from epbt_optuna import CheckpointError, CheckpointStore, EPBTSampler, resume
from epbt_optuna.journal import journal_storage
from epbt_optuna.lineage import Schedule, ancestry, lineage_graph, summarize_generations
from tests.replay import lineage_of

FORMER = Path(__file__).parents[1] / "data" / "version_0_1"
SECONDS = 7200  # ago that the former version wrote its files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(FORMER, tmp_path, dirs_exist_ok=True)
    for path in (tmp_path / "checkpoints").iterdir():
        os.utime(path, (time.time() - SECONDS,) * 2)
    return tmp_path


@pytest.fixture(params=["sqlite", "journal"])
def study(request: pytest.FixtureRequest, folder: Path) -> optuna.Study:
    storages: dict[str, str | optuna.storages.BaseStorage] = {
        "sqlite": f"sqlite:///{folder / 'study.db'}",
        "journal": journal_storage(folder / "study.log"),
    }
    return optuna.load_study(
        study_name=request.param,
        storage=storages[request.param],
        sampler=EPBTSampler(6, n_elites=3, seed=0),
    )


@pytest.fixture
def checkpoints(folder: Path) -> CheckpointStore:
    return CheckpointStore(folder / "checkpoints")


def weight(checkpoints: CheckpointStore, trial: optuna.trial.FrozenTrial) -> list[float]:
    values: list[float] = checkpoints.load(trial)["weight"].tolist()
    return values


def go_on(study: optuna.Study, checkpoints: CheckpointStore, n_trials: int) -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -1, 1)
        state = checkpoints.inherit(trial)
        assert state is not None, "an offspring began afresh"
        checkpoints.save(trial, {"weight": state["weight"] + 1, "trial": trial.number})
        return -abs(x)

    study.optimize(objective, n_trials=n_trials)


def test_it_is_read(study: optuna.Study, checkpoints: CheckpointStore) -> None:
    assert len(summarize_generations(study)) == 4
    assert len(lineage_graph(study)) == 14
    line = ancestry(study)
    assert len(line) > 1
    assert weight(checkpoints, line[-1]) == [len(line)] * 2
    assert [step.trial for step in Schedule.from_study(study).steps] == [t.number for t in line]


def test_it_goes_on_from_the_weights_that_are_there(
    study: optuna.Study, checkpoints: CheckpointStore
) -> None:
    resume(study, study.trials[13])
    retry = study.ask()
    assert parent_of(study, 14) == parent_of(study, 13)
    state: Any = checkpoints.inherit(retry)
    assert state["weight"].tolist() == [7.0, 7.0]
    checkpoints.save(retry, {**state, "trial": 14})
    study.tell(retry, -0.9)
    go_on(study, checkpoints, 12)
    for trial in study.trials[15:]:
        assert weight(checkpoints, trial)[0] == len(ancestry(study, trial)) or 14 in {
            ancestor.number for ancestor in ancestry(study, trial)
        }


def parent_of(study: optuna.Study, number: int) -> int | None:
    parent: int | None = (lineage_of(study.trials[number]) or {})["parent"]
    return parent


def test_what_it_left_is_collected_and_the_other_studys_files_stay(
    study: optuna.Study, checkpoints: CheckpointStore, folder: Path
) -> None:
    others = [path for path in (folder / "checkpoints").iterdir() if not is_of(study, path)]
    study.tell(13, state=TrialState.FAIL)
    go_on(study, checkpoints, 8)
    orphan = folder / "checkpoints" / f"{former_prefix(study)}000099-{'f' * 32}.pt"
    orphan.write_bytes(b"")
    os.utime(orphan, (0, 0))
    would = checkpoints.collect(study, dry_run=True)
    removed = checkpoints.collect(study)
    assert [garbage.trial for garbage in would if garbage.trial is not None] == removed
    assert min(removed) == 0
    assert len(removed) >= 10
    assert not orphan.exists()
    assert all(path.exists() for path in others)
    assert isinstance(study.sampler, EPBTSampler)
    for trial in study.sampler.get_population(study, 5):
        assert checkpoints.load(trial)["trial"] == trial.number
    with pytest.raises(CheckpointError, match="missing"):
        checkpoints.load(study.trials[removed[0]])


def test_reading_it_writes_nothing(study: optuna.Study, checkpoints: CheckpointStore) -> None:
    before = study._storage.get_study_system_attrs(study._study_id)
    lineage_graph(study)
    checkpoints.collect(study, dry_run=True)
    assert study._storage.get_study_system_attrs(study._study_id) == before


def former_prefix(study: optuna.Study) -> str:
    attrs = study._storage.get_study_system_attrs(study._study_id)
    (prefix,) = (key.split(":")[-1] for key in attrs if key.startswith("epbt:checkpoints:"))
    return prefix


def is_of(study: optuna.Study, path: Path) -> bool:
    return path.name.startswith(former_prefix(study))
