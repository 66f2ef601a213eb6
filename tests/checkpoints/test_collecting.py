"""What collecting may touch: names of exactly the study's form, whatever records say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore

from epbt_optuna import CheckpointError, CheckpointStore, EPBTSampler, branch
from epbt_optuna._internal.attrs import CHECKPOINT, LINEAGE
from epbt_optuna._internal.identity import StudyIdentity


def make_study(storage: Any = None) -> optuna.Study:
    """A study whose generations are the trials 0–3, 4–5, 6–7, …"""
    sampler = EPBTSampler(4, n_elites=2, seed=0)
    return optuna.create_study(direction="maximize", sampler=sampler, storage=storage)


def run(study: optuna.Study, checkpoints: CheckpointStore, *values: float) -> None:
    for value in values:
        trial = study.ask()
        checkpoints.save(trial, {"number": trial.number})
        study.tell(trial, value)


def token_of(study: optuna.Study) -> str:
    return StudyIdentity.of(study).own[0]


def put(folder: Path, name: str) -> Path:
    """Put an old file there."""
    path = folder / name
    path.write_bytes(b"somebody's")
    os.utime(path, (0, 0))
    return path


# Names

HEX = "0" * 32


@pytest.mark.parametrize(
    "name",
    [
        "epbt-{token}-000001.pt",
        "epbt-{token}-000001-{HEX}.txt",
        "epbt-{token}-000001-{HEX}.pt.bak",
        "epbt-{token}-000001-{HEX}0.pt",
        "epbt-{token}-000001-" + "A" * 32 + ".pt",
        "epbt-{token}-1-{HEX}.pt",
        "epbt-{token}-0000001-{HEX}.pt",
        "epbt-{token}-٠٠٠٠٠١-{HEX}.pt",
        "epbt-{token}0-000001-{HEX}.pt",
        "epbt-000000000000-000001-{HEX}.pt",
        ".epbt-{token}-000001-{HEX}.pt",
        "epbt-{token}-000001-{HEX}.pt.tmp",
        "..epbt-{token}-000001-{HEX}.pt.tmp",
        "epbt-{token}-notes.md",
    ],
)
def test_only_names_of_exactly_the_form_that_the_study_draws_are_swept(
    tmp_path: Path, name: str
) -> None:
    study, checkpoints = make_study(), CheckpointStore(tmp_path)
    run(study, checkpoints, 1, 2, 3, 4)
    others = put(tmp_path, name.format(token=token_of(study), HEX=HEX))
    own = put(tmp_path, f"epbt-{token_of(study)}-000001-{HEX}.tar")
    checkpoints.collect(study, grace=0)
    assert others.exists()
    assert not own.exists()


@pytest.mark.parametrize(
    "artifact",
    [
        "../precious",
        "{tmp_path}/precious",
        "..",
        "",
        "precious",
        "epbt-{token}-000000-{HEX}.pt/../../precious",
        "epbt-{token}-/../../precious",
        "../precious-000000-{HEX}.pt",
        "epbt-000000000000-000000-{HEX}.pt",  # of another study
        "epbt-{token}-000003-{HEX}.pt",  # of another trial
        "\0",
    ],
)
@pytest.mark.parametrize("kind", ["folder", "artifact store"])
def test_whatever_a_record_names_nothing_of_others_is_removed_or_read(
    tmp_path: Path, artifact: str, kind: str
) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    checkpoints = CheckpointStore(folder if kind == "folder" else FileSystemArtifactStore(folder))
    study = make_study()
    trial = study.ask()
    checkpoints.save(trial, {"number": 0})
    (saved,) = folder.iterdir()
    bytes_saved = saved.read_bytes()
    names = {"token": token_of(study), "HEX": HEX, "tmp_path": tmp_path}
    precious = [tmp_path / "precious", folder / "precious"]
    precious += [folder / f"epbt-000000000000-000000-{HEX}.pt"]
    precious += [folder / f"epbt-{token_of(study)}-000003-{HEX}.pt"]
    for path in precious:
        path.write_bytes(bytes_saved)  # as if it were the very checkpoint
    edited = {**_record(study, 0), "artifact": artifact.format(**names)}
    study._storage.set_trial_system_attr(trial._trial_id, CHECKPOINT.key, edited)
    if Path(edited["artifact"]).parent != Path() or "precious" in edited["artifact"]:
        with pytest.raises(CheckpointError, match="trial 0"):
            checkpoints.load(study.trials[0])
    checkpoints.save(trial, {"number": 0})  # replaces what the record names
    edited_again = {**_record(study, 0), "artifact": artifact.format(**names)}
    study._storage.set_trial_system_attr(trial._trial_id, CHECKPOINT.key, edited_again)
    study.tell(trial, -1.0)
    run(study, checkpoints, 1, 2, 3, 4, 5, 6, 7)
    checkpoints.collect(study)
    assert all(path.exists() for path in precious)


def _record(study: optuna.Study, number: int) -> dict[str, Any]:
    record: dict[str, Any] = study.trials[number].system_attrs[CHECKPOINT.key]
    return record


def test_trials_of_the_study_that_were_added_to_it_again_do_not_take_the_bytes_along(
    tmp_path: Path,
) -> None:
    study, checkpoints = make_study(), CheckpointStore(tmp_path)
    run(study, checkpoints, 1, 2, 3, 40)
    study.add_trials([study.trials[3]])
    study.add_trials(
        [optuna.trial.create_trial(value=0.0, system_attrs=study.trials[3].system_attrs)]
    )
    run(study, checkpoints, *range(4, 12))
    checkpoints.collect(study)
    assert study.best_trial.number in (3, 4)
    assert checkpoints.load(study.best_trial) == {"number": 3}


# Damaged and newer records


@pytest.mark.parametrize("record", [{"version": 99, "format": 99}, 7, [], "x", {"trial": None}])
def test_records_that_cannot_be_read_are_passed_over_and_their_bytes_stay(
    tmp_path: Path, record: Any, caplog: pytest.LogCaptureFixture
) -> None:
    study, checkpoints = make_study(), CheckpointStore(tmp_path)
    for number in range(14):
        trial = study.ask()
        checkpoints.save(trial, {"number": number})
        if number in (0, 5):
            study._storage.set_trial_system_attr(trial._trial_id, CHECKPOINT.key, record)
        if number == 6:
            study._storage.set_trial_system_attr(trial._trial_id, LINEAGE.key, record)
            study._storage.set_trial_system_attr(trial._trial_id, "retry_history", 5)
        study.tell(trial, float(number))
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    removed = checkpoints.collect(study, grace=1)
    assert removed
    there = {int(path.name[18:24]) for path in tmp_path.iterdir()}
    assert {0, 5, 10, 11, 12, 13} <= there
    assert not there & set(removed)
    assert "Trial 6" in caplog.text


# Studies that were deleted


def test_a_worker_of_a_deleted_study_collects_nothing_of_the_one_that_has_its_id(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url, folder = f"sqlite:///{tmp_path}/study.db", tmp_path / "checkpoints"
    checkpoints = CheckpointStore(folder)
    former = make_study(url)
    callback = checkpoints.collector()
    run(former, checkpoints, 1.0, 2.0)
    callback(former, former.trials[0])
    optuna.delete_study(study_name=former.study_name, storage=url)
    study = make_study(url)
    run(study, CheckpointStore(folder), *range(8))
    assert study._study_id == former._study_id  # SQLite gives it again
    there = sorted(path.name for path in folder.glob(f"epbt-{token_of(study)}-*"))
    assert len(there) == 8
    callback(former, study.trials[-1])
    assert not checkpoints.collect(former)
    assert not checkpoints.collect(former, dry_run=True)
    assert sorted(path.name for path in folder.glob(f"epbt-{token_of(study)}-*")) == there
    assert "was deleted, and another one has its id" in caplog.text
    assert checkpoints.collect(study) == [0, 1, 2, 3]  # who opens it anew collects as anybody


def test_a_study_that_branches_off_is_still_the_one_that_was_opened(tmp_path: Path) -> None:
    checkpoints = CheckpointStore(tmp_path / "checkpoints")
    study = make_study()
    run(study, checkpoints, *range(4))
    assert checkpoints.collect(study) == []
    branch(study, checkpoints)
    run(study, checkpoints, *range(4, 8))
    assert checkpoints.collect(study)
