"""Where checkpoints are kept: in folders that stay where they are, and in stores that travel."""

from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import cloudpickle
import optuna
import pytest
from botocore.config import Config
from optuna.artifacts import Backoff, Boto3ArtifactStore, FileSystemArtifactStore
from optuna.trial import TrialState

from epbt_optuna import CheckpointError, CheckpointStore, EPBTSampler


def make_study() -> optuna.Study:
    return optuna.create_study(sampler=EPBTSampler(2, n_elites=1, seed=0))


# URLs and working directories


@pytest.mark.parametrize("wrap", [str, Path])
@pytest.mark.parametrize(
    ("url", "line"),
    [
        (
            "s3://bucket/run",
            r"CheckpointStore\(optuna\.artifacts\.Boto3ArtifactStore\('bucket'\)\)",
        ),
        ("S3://bucket", r"CheckpointStore\(optuna\.artifacts\.Boto3ArtifactStore\('bucket'\)\)"),
        ("s3:/bucket/run", r"Boto3ArtifactStore\('bucket'\)"),
        ("gs://bucket/a/b", r"CheckpointStore\(optuna\.artifacts\.GCSArtifactStore\('bucket'\)\)"),
        ("file:///data/run", r"write it as '/data/run'"),
        ("file:///my%20data/run", r"write it as '/my data/run'"),
        ("az://container/run", "Mount it as a folder, or pass CheckpointStore an artifact store"),
        ("hdfs://host:9000/run", "Mount it as a folder"),
        ("sqlite:///study.db", r"`create_study\(storage=…\)`.*a folder or an artifact store"),
        ("mysql://host/db", r"`create_study\(storage=…\)`"),
    ],
)
def test_a_url_is_refused_with_the_line_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrap: type, url: str, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=rf"`store` must be a local path but got '{wrap(url)}'.*{line}"
    ):
        CheckpointStore(wrap(url))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    ["lr:0.1", "2024-01-01T10:00/run", "1:/x", "C:\\checkpoints", "c:/run", "x=:/y", "a/s3://b"],
)
def test_names_with_a_colon_are_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    CheckpointStore(name).save(make_study().ask(), {})
    assert len(list((tmp_path / name).iterdir())) == 1


def test_a_tilde_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    CheckpointStore("~/run").save(make_study().ask(), {})
    assert len(list((tmp_path / "run").iterdir())) == 1


def backoff_in(folder: str) -> Backoff:
    return Backoff(FileSystemArtifactStore(folder))


@pytest.mark.parametrize(
    "make",
    [str, Path, FileSystemArtifactStore, backoff_in],
    ids=["string", "path", "artifact store", "store in a store"],
)
def test_a_relative_folder_stays_where_it_was_when_the_working_directory_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[str], Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("checkpoints").mkdir()
    checkpoints, study = CheckpointStore(make("checkpoints")), make_study()

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        state = checkpoints.inherit(trial)
        assert state is None or state["x"] >= 0
        own = tmp_path / f"run{trial.number}"
        own.mkdir()
        os.chdir(own)
        pickle.loads(pickle.dumps(checkpoints)).save(trial, {"x": x})
        return x

    study.optimize(objective, n_trials=6)
    names = [path.name for path in tmp_path.rglob("*.pt")]
    assert len(names) == 6
    assert {path.parent for path in tmp_path.rglob("*.pt")} == {tmp_path / "checkpoints"}
    removed = checkpoints.collect(study)
    left = [path.name for path in (tmp_path / "checkpoints").iterdir()]
    assert removed
    assert len(left) == 6 - len(removed)


def test_the_user_s_own_store_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = FileSystemArtifactStore("folder")
    CheckpointStore(store)
    assert vars(store) == vars(FileSystemArtifactStore("folder"))


def test_a_url_as_a_store_s_folder_or_as_a_destination_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`base_path` must be a local path but got 's3:/bucket'"):
        CheckpointStore(FileSystemArtifactStore("s3://bucket"))
    checkpoints, trial = CheckpointStore(tmp_path), make_study().ask()
    with pytest.raises(ValueError, match="`destination` must be a local path but got 's3://b/x'"):
        checkpoints.inherit_path(trial, "s3://b/x")
    with pytest.raises(ValueError, match="`path` must be a local path but got 's3://b/x'"):
        checkpoints.save_path(trial, "s3://b/x")


# File systems that cannot synchronise folders


@pytest.mark.parametrize("name", ["EINVAL", "ENOTSUP", "EACCES", "EBADF", "ENOSYS", "EPERM", "EIO"])
def test_folders_that_cannot_be_synchronised_work_and_a_failing_disk_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fsync = os.fsync

    def only_files(descriptor: int) -> None:
        if Path(f"/dev/fd/{descriptor}").is_dir():
            raise OSError(getattr(errno, name), "not for folders")
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", only_files)
    checkpoints, trial = CheckpointStore(tmp_path), make_study().ask()
    if name == "EIO":
        with pytest.raises(CheckpointError, match="not for folders"):
            checkpoints.save(trial, {"x": 1})
    else:
        checkpoints.save(trial, {"x": 1})
        assert checkpoints.load(trial) == {"x": 1}


# Stores that travel


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "from-environment",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)


def make_client(**options: Any) -> Any:
    return boto3.session.Session().client("s3", **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"region_name": "eu-central-1"},
        {"endpoint_url": "http://127.0.0.1:1"},
        {"config": Config(s3={"addressing_style": "path"}, retries={"max_attempts": 7})},
    ],
    ids=["default", "region", "endpoint", "configuration"],
)
def test_a_store_with_a_client_of_s3_travels(options: dict[str, Any]) -> None:
    client = make_client(**options)
    store = Boto3ArtifactStore("bucket", client, avoid_buf_copy=True)
    payload = cloudpickle.dumps(CheckpointStore(Backoff(store)))
    assert b"secret" not in payload
    assert b"from-environment" not in payload
    arrived = pickle.loads(payload)._artifacts._artifacts._store._backend
    assert arrived.client is not client
    assert arrived.client.meta.region_name == client.meta.region_name
    assert arrived.client.meta.config.retries == client.meta.config.retries
    addresses = [
        each.generate_presigned_url("put_object", {"Bucket": "bucket", "Key": "key"}).split("?")[0]
        for each in (arrived.client, client)
    ]
    assert addresses[0] == addresses[1]
    assert (arrived.bucket, arrived._avoid_buf_copy) == ("bucket", True)
    assert store.client is client


def test_a_client_that_was_given_its_keys_does_not_travel_with_other_ones() -> None:
    client = make_client(aws_access_key_id="mine", aws_secret_access_key="my-secret")
    checkpoints = CheckpointStore(Boto3ArtifactStore("bucket", client))
    with pytest.raises(TypeError, match=r"environment's credentials .* CheckpointStore a function"):
        cloudpickle.dumps(checkpoints)


class Unpicklable(FileSystemArtifactStore):
    """As a client of Google's."""

    def __reduce__(self) -> Any:
        raise pickle.PicklingError("Clients have non-trivial state")


def test_a_store_that_cannot_travel_names_the_function_that_can(tmp_path: Path) -> None:
    checkpoints = CheckpointStore(Unpicklable(tmp_path))
    checkpoints.save(make_study().ask(), {})
    with pytest.raises(
        TypeError,
        match=r"Unpicklable cannot be sent .*non-trivial.*`CheckpointStore\(lambda: ",
    ):
        cloudpickle.dumps(checkpoints)


def test_a_function_makes_the_store_once_when_it_is_first_used(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    folder = tmp_path / "folder"
    folder.mkdir()

    def make() -> Any:
        with calls.open("a") as file:
            file.write("x")
        return Unpicklable(folder)

    checkpoints, study = CheckpointStore(make), make_study()
    arrived = cloudpickle.loads(cloudpickle.dumps(checkpoints))
    assert not calls.exists()
    for value in range(2):
        trial = study.ask()
        arrived.save(trial, {"value": value})
        study.tell(trial, float(value), state=TrialState.COMPLETE)
    assert calls.read_text() == "x"
    assert checkpoints.load(study.trials[1]) == {"value": 1}
    assert calls.read_text() == "xx"  # once here, once where it arrived
    arrived = cloudpickle.loads(cloudpickle.dumps(arrived))
    assert arrived.load(study.trials[0]) == {"value": 0}


def test_what_makes_a_store_is_checked_when_it_is_given_and_when_it_is_called() -> None:
    with pytest.raises(TypeError, match=r"`store` must be called without arguments.*Boto3Artifact"):
        CheckpointStore(Boto3ArtifactStore)  # type: ignore[arg-type]  # a class, no instance
    with pytest.raises(CheckpointError, match="`store` must make an artifact store but made 3"):
        CheckpointStore(lambda: 3).save(make_study().ask(), {})  # type: ignore[arg-type, return-value]
