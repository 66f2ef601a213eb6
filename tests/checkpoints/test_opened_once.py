"""A checkpoint is opened once: what is verified is what is read, whatever happens to its name."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.artifacts import FileSystemArtifactStore
from optuna.trial import TrialState

from epbt_optuna import CheckpointStore, EPBTSampler


def saved_state(folder: Path, weights: torch.Tensor) -> tuple[CheckpointStore, optuna.Trial, Path]:
    """Save the state of a running trial; return it with its store and its file."""
    checkpoints, trial = CheckpointStore(folder), optuna.create_study().ask()
    checkpoints.save(trial, {"weights": weights})
    (file,) = folder.iterdir()
    return checkpoints, trial, file


def exchange_after_hashing(
    monkeypatch: pytest.MonkeyPatch, file: Path, other: bytes | None
) -> None:
    """Rename another file over this one, or remove it, once its digest has been computed."""
    sha256 = hashlib.sha256
    beside = file.with_name("other")
    if other is not None:
        beside.write_bytes(other)

    class Exchanging:
        def __init__(self) -> None:
            self._hash = sha256()

        def update(self, data: bytes) -> None:
            self._hash.update(data)

        def hexdigest(self) -> str:
            if other is not None:
                os.replace(beside, file)
            else:
                file.unlink()
            return self._hash.hexdigest()

    monkeypatch.setattr(hashlib, "sha256", Exchanging)


@pytest.mark.parametrize("mmap", [False, True])
def test_a_file_renamed_over_a_verified_checkpoint_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mmap: bool
) -> None:
    checkpoints, trial, file = saved_state(tmp_path / "mine", torch.ones(1000))
    _, _, foreign = saved_state(tmp_path / "foreign", torch.zeros(1000))
    exchange_after_hashing(monkeypatch, file, foreign.read_bytes())
    assert torch.equal(checkpoints.load(trial, mmap=mmap)["weights"], torch.ones(1000))
    assert file.read_bytes() == foreign.read_bytes()  # it was exchanged


@pytest.mark.parametrize("mmap", [False, True])
def test_a_checkpoint_that_is_collected_while_it_is_read_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mmap: bool
) -> None:
    checkpoints, trial, file = saved_state(tmp_path, torch.ones(1000))
    exchange_after_hashing(monkeypatch, file, None)
    assert torch.equal(checkpoints.load(trial, mmap=mmap)["weights"], torch.ones(1000))
    assert not file.exists()


def test_an_archive_renamed_over_a_verified_one_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study(sampler=EPBTSampler(2, seed=0))
    checkpoints, trial = CheckpointStore(tmp_path / "checkpoints"), study.ask()
    archives = []
    for content in ("foreign", "mine"):  # the second one replaces the first
        (tmp_path / "model").write_text(content)
        checkpoints.save_path(trial, tmp_path / "model")
        (file,) = (tmp_path / "checkpoints").iterdir()
        archives.append(file.read_bytes())
    study.tell(trial, 0.0)
    study.tell(study.ask(), state=TrialState.FAIL)
    child = study.ask()
    exchange_after_hashing(monkeypatch, file, archives[0])
    inherited = checkpoints.inherit_path(child, tmp_path / "inherited")
    assert inherited is not None
    assert inherited.read_text() == "mine"
    assert file.read_bytes() == archives[0]


@pytest.mark.parametrize("mmap", [False, True])
def test_later_writes_to_the_file_show_in_mapped_tensors_only(tmp_path: Path, mmap: bool) -> None:
    checkpoints, trial, file = saved_state(tmp_path, torch.ones(1000))
    state: dict[str, Any] = checkpoints.load(trial, mmap=mmap)
    position = file.read_bytes().index(torch.ones(1000).numpy().tobytes())
    with file.open("r+b") as same_file:
        same_file.seek(position)
        same_file.write(bytes(4000))
    expected = torch.zeros(1000) if mmap else torch.ones(1000)
    assert torch.equal(state["weights"], expected)


@pytest.mark.parametrize("is_folder", [True, False])
def test_mapped_tensors_outlive_the_file_and_can_be_trained_without_changing_it(
    tmp_path: Path, is_folder: bool
) -> None:
    store = tmp_path if is_folder else FileSystemArtifactStore(tmp_path)
    checkpoints = CheckpointStore(store)
    study = optuna.create_study(sampler=EPBTSampler(2, seed=0))
    for number in range(2):
        trial = study.ask()
        checkpoints.save(trial, {"weights": torch.full((1000,), float(number))})
        study.tell(trial, 1.0 - number)
    inherited = checkpoints.inherit(study.ask(), mmap=True)
    assert inherited is not None
    inherited["weights"] += 1
    assert torch.equal(checkpoints.load(study.trials[1])["weights"], torch.ones(1000))
    for file in tmp_path.iterdir():
        file.unlink()
    assert torch.equal(inherited["weights"], torch.full((1000,), 2.0))
