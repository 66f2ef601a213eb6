"""Folders and stores that fail for a moment, or for good."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore

from epbt_optuna import CheckpointError, CheckpointStore
from tests.checkpoints.test_collecting import make_study, run

ERRORS = [errno.ENOENT, errno.EACCES, errno.EIO, errno.ESTALE]


@pytest.mark.parametrize("code", ERRORS)
@pytest.mark.parametrize("where", ["scandir", "stat", "unlink"])
def test_a_folder_that_fails_for_a_moment_never_ends_a_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    code: int,
    where: str,
) -> None:
    study, checkpoints = make_study(), CheckpointStore(tmp_path / "checkpoints")

    def objective(trial: optuna.Trial) -> float:
        checkpoints.save(trial, {"number": trial.number})
        return trial.number

    def fails(*_: object, **__: object) -> Any:
        raise OSError(code, os.strerror(code))

    class Entries:
        """A folder whose entries cannot be looked at."""

        def __init__(self, folder: Path) -> None:
            self._names = os.listdir(folder)

        def __enter__(self) -> Iterator[Any]:
            entry = type("Entry", (), {"stat": fails})
            return iter([type("Named", (entry,), {"name": name})() for name in self._names])

        def __exit__(self, *_: object) -> None: ...

    study.optimize(objective, n_trials=7)
    with monkeypatch.context() as patched:
        if where == "unlink":
            patched.setattr(Path, "unlink", fails)
        else:
            patched.setattr(os, "scandir", fails if where == "scandir" else Entries)
        study.optimize(objective, n_trials=5, callbacks=[checkpoints.collector()])
        if where == "scandir":
            assert caplog.text.count("cannot be listed") == 3  # generations that ended
            with pytest.raises(CheckpointError, match="cannot be listed"):
                checkpoints.collect(study)
    assert len(study.trials) == 12
    assert len(os.listdir(tmp_path / "checkpoints")) == 12
    assert checkpoints.collect(study) == list(range(8))


class BrokenStore(FileSystemArtifactStore):
    """Raises what a client of some object store might."""

    def remove(self, artifact_id: str) -> None:
        raise ZeroDivisionError(artifact_id)


def test_neither_a_store_nor_a_storage_that_raises_anything_ends_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    study, checkpoints = make_study(), CheckpointStore(BrokenStore(tmp_path))
    collector = checkpoints.collector()
    run(study, checkpoints, *range(12))
    collector(study, study.trials[11])
    assert "could not be removed" in caplog.text

    def fails(*_: object) -> Any:
        raise KeyError("the database is away")

    with monkeypatch.context() as patched:
        patched.setattr("epbt_optuna.checkpoints.retention.read_trial", fails)
        collector(study, study.trials[11])
    with monkeypatch.context() as patched:
        patched.setattr(study._storage, "get_study_system_attrs", fails)
        collector(study, study.trials[11])
    assert caplog.text.count("KeyError: 'the database is away'") == 2
    collector(optuna.create_study(), study.trials[11])
    assert "has no generations" in caplog.text
    with pytest.raises(ValueError, match=r"`keep` must be one of .* but got 'elites'"):
        checkpoints.collector(keep="elites")  # type: ignore[arg-type]


def test_a_folder_that_vanishes_in_a_run_is_said_at_the_next_save(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    study, checkpoints = make_study(), CheckpointStore(tmp_path / "new" / "checkpoints")
    assert not study.trials
    run(study, checkpoints, 1, 2, 3)
    shutil.rmtree(tmp_path / "new")
    study.ask()
    checkpoints.collector()(study, study.trials[3])
    assert "cannot be listed" in caplog.text
    with pytest.raises(CheckpointError, match=r"trial 4 .*the folder is gone"):
        checkpoints.save(study.ask(), {"number": 4})
    assert not (tmp_path / "new").exists()
    begun_anew = CheckpointStore(tmp_path / "new" / "checkpoints")
    begun_anew.save(study.ask(), {"number": 5})
