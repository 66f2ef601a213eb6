"""Files and folders as checkpoints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from epbt_optuna import CheckpointError, CheckpointStore, EPBTSampler


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint as a framework writes it: nested, with a link and an empty folder."""
    root = tmp_path / "model"
    (root / "shards" / "empty").mkdir(parents=True)
    (root / "config.json").write_text("{}")
    (root / "shards" / "0.bin").write_bytes(os.urandom(3_000_000))
    (root / "latest").symlink_to("config.json")
    return root


def child_of(checkpoints: CheckpointStore, path: Path) -> optuna.Trial:
    """Ask the child of a trial that saved `path`."""
    study = optuna.create_study(sampler=EPBTSampler(2, seed=0))
    parent = study.ask()
    checkpoints.save_path(parent, path)
    study.tell(parent, 0.0)
    study.tell(study.ask(), state=TrialState.FAIL)
    return study.ask()


def contents(root: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
    }


def test_a_child_inherits_a_folder(
    checkpoints: CheckpointStore, folder: Path, tmp_path: Path
) -> None:
    child = child_of(checkpoints, folder)
    assert checkpoints.inherit_path(child, tmp_path / "new" / "here") == tmp_path / "new" / "here"
    assert contents(tmp_path / "new" / "here") == contents(folder)
    assert not (tmp_path / "new" / "here" / "latest").is_symlink()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["here"]


def test_a_child_inherits_a_single_file(checkpoints: CheckpointStore, tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").write_bytes(b"weights")
    child = child_of(checkpoints, tmp_path / "last.ckpt")
    inherited = checkpoints.inherit_path(child, tmp_path / "parent.ckpt")
    assert inherited is not None
    assert inherited.read_bytes() == b"weights"


def test_a_founder_inherits_no_files(checkpoints: CheckpointStore, tmp_path: Path) -> None:
    trial = optuna.create_study(sampler=EPBTSampler(2, seed=0)).ask()
    assert checkpoints.inherit_path(trial, tmp_path / "new") is None
    assert not (tmp_path / "new").exists()


def test_a_destination_that_exists_is_refused(
    checkpoints: CheckpointStore, folder: Path, tmp_path: Path
) -> None:
    child = child_of(checkpoints, folder)
    with pytest.raises(ValueError, match=r"`destination` must not exist yet but .* does"):
        checkpoints.inherit_path(child, tmp_path)


def test_files_are_not_taken_for_a_state_nor_a_state_for_files(
    checkpoints: CheckpointStore, folder: Path, tmp_path: Path
) -> None:
    child = child_of(checkpoints, folder)
    with pytest.raises(CheckpointError, match="holds files: use `inherit_path` or `load_path`"):
        checkpoints.inherit(child)
    checkpoints.save(child, {}, final=False)
    with pytest.raises(CheckpointError, match="holds files: use `inherit_path` or `load_path`"):
        checkpoints.load(child.study.trials[0])
    assert checkpoints.load(child) == {}
    assert tmp_path.exists()


@pytest.mark.parametrize("what", ["nothing", "pipe"])
def test_what_is_no_file_or_folder_is_refused(
    checkpoints: CheckpointStore, folder: Path, what: str
) -> None:
    if what == "pipe":
        os.mkfifo(folder / "nothing")
    trial = optuna.create_study().ask()
    with pytest.raises(ValueError, match=r"must hold only files and folders .* got .*nothing"):
        checkpoints.save_path(trial, folder if what == "pipe" else folder / "nothing")


def test_damaged_files_are_not_restored(
    checkpoints: CheckpointStore, folder: Path, tmp_path: Path
) -> None:
    child = child_of(checkpoints, folder)
    (archive,) = (tmp_path / "checkpoints").iterdir()
    os.truncate(archive, archive.stat().st_size - 512)
    with pytest.raises(CheckpointError, match=r"trial 0 .* it is damaged"):
        checkpoints.inherit_path(child, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("target", [".", "..", "../../model", "shards"])
def test_a_link_to_a_folder_that_it_is_in_is_refused_by_its_name(
    checkpoints: CheckpointStore, folder: Path, target: str
) -> None:
    (folder / "shards" / "loop").symlink_to(target)
    trial = optuna.create_study().ask()
    if target == "shards":  # there is none beside the link
        expected = r"must hold only files and folders that exist but got .*/shards/loop\."
    else:
        expected = r"must hold no link to a folder that it is in but got .*/loop"
    with pytest.raises(ValueError, match=expected):
        checkpoints.save_path(trial, folder)


def test_links_that_lead_out_and_hard_links_are_saved_as_what_they_point_to(
    checkpoints: CheckpointStore, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "1").write_text("weights")
    (folder / "blobs").symlink_to("../blobs")
    (folder / "same.json").hardlink_to(folder / "config.json")
    inherited = checkpoints.inherit_path(child_of(checkpoints, folder), tmp_path / "new")
    assert inherited is not None
    assert (inherited / "blobs" / "1").read_text() == "weights"
    assert (inherited / "same.json").read_text() == "{}"
    assert not [path for path in inherited.rglob("*") if path.is_symlink()]


def test_names_and_rights_come_back_but_no_more_than_their_owner_s(
    checkpoints: CheckpointStore, folder: Path, tmp_path: Path
) -> None:
    names = ["x" * 200, "A", "a", "caf\u00e9", "cafe\u0301", "a\\b", "\udcff", " ", "..."]
    for name in names:
        (folder / name).write_text(name, "utf-8", "surrogateescape")
    (folder / "run").write_bytes(b"#!/bin/sh")
    (folder / "run").chmod(0o6755)
    os.utime(folder / "config.json", (1, 1))
    inherited = checkpoints.inherit_path(child_of(checkpoints, folder), tmp_path / "new")
    assert inherited is not None
    assert contents(inherited) == contents(folder)
    assert (inherited / "run").stat().st_mode & 0o7777 == 0o755
    assert (inherited / "config.json").stat().st_mtime == 1


def test_a_link_to_nothing_is_a_destination_that_exists(
    checkpoints: CheckpointStore, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    child = child_of(checkpoints, folder)
    with pytest.raises(ValueError, match=r"`destination` must not exist yet but .* does"):
        checkpoints.inherit_path(child, tmp_path / "link")


def test_without_a_destination_files_are_there_until_the_trial_ends(
    checkpoints: CheckpointStore, folder: Path
) -> None:
    child = child_of(checkpoints, folder)
    inherited = checkpoints.inherit_path(child)
    assert inherited is not None
    assert contents(inherited) == contents(folder)
    del child
    assert not inherited.exists()


def test_a_single_file_keeps_its_name(checkpoints: CheckpointStore, folder: Path) -> None:
    child = child_of(checkpoints, folder / "config.json")
    inherited = checkpoints.inherit_path(child)
    assert inherited is not None
    assert inherited.name == "config.json"
    assert inherited.read_text() == "{}"


def test_the_files_of_a_finished_trial_are_loaded(
    checkpoints: CheckpointStore, folder: Path, tmp_path: Path
) -> None:
    study = optuna.create_study(sampler=EPBTSampler(2, seed=0))
    trial = study.ask()
    checkpoints.save_path(trial, folder / "config.json")
    study.tell(trial, 0.0)
    path = checkpoints.load_path(study.best_trial, tmp_path / "best.json")
    assert path == tmp_path / "best.json"
    assert path.read_text() == "{}"
    with pytest.raises(ValueError, match="`destination` must not exist yet"):
        checkpoints.load_path(study.best_trial, path)


def test_loaded_files_without_a_destination_live_as_long_as_the_process(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        "import optuna\n"
        "from epbt_optuna import CheckpointStore, EPBTSampler\n"
        "study = optuna.create_study(sampler=EPBTSampler(2, seed=0))\n"
        "trial = study.ask()\n"
        "CheckpointStore('checkpoints').save_path(trial, __file__)\n"
        "study.tell(trial, 0.0)\n"
        "paths = [CheckpointStore('checkpoints').load_path(study.best_trial) for _ in range(2)]\n"
        "assert all(path.read_bytes() == open(__file__, 'rb').read() for path in paths)\n"
        "print(*paths)\n"
    )
    command = [sys.executable, str(script)]
    run = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    first, second = map(Path, run.stdout.split())
    assert first.name == second.name == "program.py"
    assert first != second
    assert not first.parent.parent.exists()
    assert not second.parent.parent.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_temporary_files_go_with_the_process_that_restored_them_be_it_forked_and_no_other(
    tmp_path: Path,
) -> None:
    (tmp_path / "temporary").mkdir()
    script = tmp_path / "program.py"
    script.write_text(
        "import multiprocessing, os, sys, optuna\n"
        "from epbt_optuna import CheckpointStore, EPBTSampler\n"
        "study = optuna.create_study(sampler=EPBTSampler(2, seed=0))\n"
        "trial = study.ask()\n"
        "checkpoints = CheckpointStore('checkpoints')\n"
        "checkpoints.save_path(trial, __file__)\n"
        "def restored():\n"
        "    return len(os.listdir('temporary'))\n"
        "def restore():\n"
        "    checkpoints.load_path(trial)\n"
        "    assert restored() == 1\n"
        "worker = multiprocessing.get_context('fork').Process(target=restore)\n"
        "worker.start()\n"
        "worker.join()\n"
        "assert worker.exitcode == restored() == 0, 'left behind'\n"
        "restore()\n"
        "if os.fork() == 0:\n"
        "    sys.exit()\n"
        "os.wait()\n"
        "assert restored() == 1, 'removed by a child'\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    subprocess.run([sys.executable, str(script)], cwd=tmp_path, check=True, env=environment)
    assert list((tmp_path / "temporary").iterdir()) == []
