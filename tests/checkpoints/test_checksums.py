"""The zip format's checksums are left out of a checkpoint, and of nothing else that torch saves."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch

from epbt_optuna import CheckpointError, CheckpointStore

options: Any = torch.serialization

pytestmark = pytest.mark.skipif(
    not hasattr(options, "set_crc32_options"), reason="torch 2.5 has no such option"
)

STATES = [{"w": torch.ones(1000)}, {"w": np.ones(1000)}]


@pytest.fixture
def trial() -> optuna.Trial:
    return optuna.create_study().ask()


@pytest.fixture
def _user_leaves_them_out() -> Iterator[None]:
    options.set_crc32_options(False)
    yield
    options.set_crc32_options(True)


@pytest.mark.parametrize("state", STATES, ids=["tensor", "array"])
def test_torch_itself_reads_a_checkpoint_which_has_no_checksums(
    tmp_path: Path, trial: optuna.Trial, state: Any
) -> None:
    CheckpointStore(tmp_path).save(trial, state)
    (path,) = tmp_path.iterdir()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is not None
    if isinstance(state["w"], torch.Tensor):  # arrays need functions of this package
        assert torch.equal(torch.load(path, weights_only=True)["state"]["w"], state["w"])


def test_what_the_user_saves_afterwards_has_them(tmp_path: Path, trial: optuna.Trial) -> None:
    CheckpointStore(tmp_path / "checkpoints").save(trial, STATES[0])
    torch.save(STATES[0], tmp_path / "own.pt")
    with zipfile.ZipFile(tmp_path / "own.pt") as archive:
        assert archive.testzip() is None


def test_they_are_back_when_nothing_could_be_saved(
    tmp_path: Path, trial: optuna.Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", fails)
    with pytest.raises(CheckpointError, match="no space left"):
        CheckpointStore(tmp_path).save(trial, STATES[0])
    assert options.get_crc32_options()


@pytest.mark.usefixtures("_user_leaves_them_out")
def test_a_user_who_leaves_them_out_goes_on_to(tmp_path: Path, trial: optuna.Trial) -> None:
    CheckpointStore(tmp_path).save(trial, STATES[0])
    assert not options.get_crc32_options()


@pytest.mark.parametrize("whose", ["the thread's", "the process's"])
def test_they_are_back_when_threads_have_saved_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    """The version of torch decides whose option it is."""
    if whose == "the process's":
        of_all = [True]
        monkeypatch.setattr(options, "get_crc32_options", lambda: of_all[0])
        monkeypatch.setattr(options, "set_crc32_options", lambda on: of_all.__setitem__(0, on))
    checkpoints, study = CheckpointStore(tmp_path), optuna.create_study()
    afterwards = []

    def work(trial: optuna.Trial) -> None:
        for _ in range(20):
            checkpoints.save(trial, STATES[0])
        if whose == "the thread's":
            afterwards.append(options.get_crc32_options())

    threads = [threading.Thread(target=work, args=(study.ask(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all([*afterwards, options.get_crc32_options()])
