"""Checkpoints in an object store: a real S3 server, through Optuna's own artifact store."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import optuna
import pytest
import torch
from optuna.artifacts import Backoff, Boto3ArtifactStore
from optuna.trial import TrialState

from epbt_optuna import CheckpointError, CheckpointStore, EPBTSampler
from epbt_optuna.journal import journal_storage
from epbt_optuna.parallel import optimize
from tests.drills.training import RULES, Training
from tests.replay import check_lineage
from tests.servers import S3Server


class Bucket:
    """A new bucket, and a client that does not try again by itself."""

    def __init__(self, server: S3Server) -> None:
        self.client = server.client(retries={"total_max_attempts": 1})
        self.name = server.new_bucket()
        self.refused: list[str] = []
        self._refusals = 0
        self.client.meta.events.register("before-send.s3", self._before_send)

    def store(self, *, streaming: bool = True) -> Boto3ArtifactStore:
        return Boto3ArtifactStore(self.name, self.client, avoid_buf_copy=streaming)

    def listed(self) -> set[str]:
        answer = self.client.list_objects_v2(Bucket=self.name)
        return {item["Key"] for item in answer.get("Contents", ())}

    def refuse(self, n_requests: int) -> None:
        """Answer the next requests with an error that passes."""
        self._refusals = n_requests
        self.refused = []

    def _before_send(self, request: Any, **_: Any) -> Any:
        from botocore.awsrequest import AWSResponse

        if self._refusals == 0:
            return None
        self._refusals -= 1
        self.refused.append(request.method)
        body = io.BytesIO(b"<Error><Code>SlowDown</Code><Message>Busy.</Message></Error>")
        body.stream = lambda: iter([body.read()])  # type: ignore[attr-defined]
        return AWSResponse(request.url, 503, {}, body)


@pytest.fixture
def bucket(s3: S3Server) -> Iterator[Bucket]:
    bucket = Bucket(s3)
    yield bucket
    bucket.client.close()


def make_study() -> optuna.Study:
    return optuna.create_study(
        direction=RULES.direction,
        sampler=EPBTSampler(RULES.population_size, n_elites=RULES.n_elites, seed=0),
    )


@pytest.mark.parametrize("streaming", [True, False])
def test_a_run_hands_weights_on_and_leaves_those_that_somebody_may_need(
    bucket: Bucket, streaming: bool
) -> None:
    training = Training(bucket.store(streaming=streaming))
    study = make_study()
    study.optimize(training, n_trials=21, callbacks=[training.checkpoints.collector()])
    trials = study.get_trials()
    populations = check_lineage(trials, RULES)
    for trial in trials[RULES.population_size :]:
        parent = trials[trial.system_attrs["epbt:lineage"]["parent"]]
        assert trial.user_attrs["start"]["weights"] == parent.user_attrs["saved"]
    needed = {trial.number for trial in populations[-1]} | {study.best_trial.number}
    artifacts = {n: trials[n].system_attrs["epbt:checkpoint"]["artifact"] for n in needed}
    assert bucket.listed() == set(artifacts.values())
    for number in needed:
        training.checkpoints.load(trials[number])


@pytest.mark.parametrize("streaming", [True, False])
def test_errors_that_pass_are_retried_when_writing_reading_and_removing(
    bucket: Bucket, streaming: bool
) -> None:
    backoff = Backoff(bucket.store(streaming=streaming), min_delay=0.001, max_delay=0.01)
    checkpoints, trial = CheckpointStore(backoff), make_study().ask()
    state = {"weights": torch.arange(100.0)}
    bucket.refuse(3)
    checkpoints.save(trial, state, final=False)
    assert bucket.refused == ["PUT"] * 3
    (partial,) = bucket.listed()
    bucket.refuse(3)
    assert torch.equal(checkpoints.load(trial)["weights"], state["weights"])
    assert bucket.refused == ["GET"] * 3
    checkpoints.save(trial, {"epoch": 1})
    assert checkpoints.load(trial) == {"epoch": 1}
    assert partial not in bucket.listed()


def test_removing_through_backoff_is_retried_and_then_done(bucket: Bucket) -> None:
    sent: list[str] = []
    bucket.client.meta.events.register(
        "before-send.s3", lambda request, **_: sent.append(request.method)
    )
    checkpoints = CheckpointStore(Backoff(bucket.store(), min_delay=0.001, max_delay=0.01))
    trial = make_study().ask()
    checkpoints.save(trial, {"epoch": 0}, final=False)
    sent.clear()
    checkpoints.save(trial, {"epoch": 1})  # removes the one before
    assert sent == ["PUT", "DELETE"]


def test_an_error_that_stays_names_trial_and_store_and_the_study_stays_good(
    bucket: Bucket,
) -> None:
    backoff = Backoff(bucket.store(), max_retries=2, min_delay=0.001, max_delay=0.01)
    training, study = Training(backoff), make_study()
    study.optimize(training, n_trials=6)
    bucket.refuse(10**6)
    with pytest.raises(CheckpointError, match=r"of trial \d.*Backoff: epbt-.*SlowDown"):
        study.optimize(training, n_trials=1)
    study.optimize(training, n_trials=2, catch=(CheckpointError,))
    trial = study.ask()
    with pytest.raises(CheckpointError, match=r"trial 9 could not be written to Backoff: .*Slow"):
        training.checkpoints.save(trial, {"epoch": 1})
    study.tell(trial, state=TrialState.FAIL)
    bucket.refuse(0)
    study.optimize(training, n_trials=12)
    trials = study.get_trials()
    assert [t.number for t in trials if t.state == TrialState.FAIL] == [6, 7, 8, 9]
    check_lineage(trials, RULES)


class BrokenReader(io.BytesIO):
    """Breaks after some bytes, with an error of a client's own kind."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > 0:
            raise RuntimeError("IncompleteRead(100 bytes read)")
        return super().read(100 if size is None or size < 0 else min(size, 100))


def test_a_download_that_breaks_off_names_trial_and_store(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = bucket.store()
    checkpoints, trial = CheckpointStore(store), make_study().ask()
    checkpoints.save(trial, {"weights": torch.arange(100.0)})

    def broken(artifact_id: str) -> BinaryIO:
        with Boto3ArtifactStore.open_reader(store, artifact_id) as reader:
            return BrokenReader(reader.read())

    monkeypatch.setattr(store, "open_reader", broken)
    with pytest.raises(CheckpointError, match=r"trial 0 \(Boto3.*Error: IncompleteRead"):
        checkpoints.load(trial)


def test_an_object_that_is_gone_or_was_cut_short_says_so(bucket: Bucket) -> None:
    checkpoints, study = CheckpointStore(bucket.store()), make_study()
    trials = [study.ask(), study.ask()]
    keys: list[str] = []
    for trial in trials:
        before = bucket.listed()
        checkpoints.save(trial, {"epoch": 1})
        keys.extend(bucket.listed() - before)
    bucket.client.delete_object(Bucket=bucket.name, Key=keys[0])
    bucket.client.put_object(Bucket=bucket.name, Key=keys[1], Body=b"short")
    with pytest.raises(CheckpointError, match=r"trial 0 \(Boto3.* is missing"):
        checkpoints.load(trials[0])
    with pytest.raises(CheckpointError, match=r"trial 1 \(Boto3.* is damaged: 5 bytes"):
        checkpoints.load(trials[1])


def memory(key: str) -> int:
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="looks into Linux")
def test_a_large_state_is_streamed_in_both_directions(bucket: Bucket) -> None:
    checkpoints, trial = CheckpointStore(bucket.store()), make_study().ask()
    checkpoints.save(trial, {"epoch": 0})  # what is imported and allocated once, is now
    state = {"weights": torch.randn(30 * 250_000)}
    n_bytes = 30 * 1_000_000

    def peak() -> int:
        return memory("VmHWM:") - before

    def look() -> int:
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        return memory("VmRSS:")

    before = look()
    checkpoints.save(trial, state)
    assert peak() < 1.5 * n_bytes  # the parts that are being sent; twice is 2.0 and more
    for mmap, limit in ((False, 1.5), (True, 0.5)):  # what is mapped is read when it is looked at
        before = look()
        loaded = checkpoints.load(trial, mmap=mmap)
        assert peak() < limit * n_bytes
        assert torch.equal(loaded["weights"], state["weights"])


@pytest.mark.parametrize("given", ["client", "function"])
def test_worker_processes_reach_the_bucket_by_the_client_or_by_a_function_that_makes_the_store(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    name, url = s3.new_bucket(), s3.url

    def make() -> Boto3ArtifactStore:
        import boto3

        return Boto3ArtifactStore(name, boto3.session.Session().client("s3", endpoint_url=url))

    checkpoints = CheckpointStore(Backoff(make()) if given == "client" else make)

    def objective(trial: optuna.Trial) -> float:
        state = checkpoints.inherit(trial) or {"processes": []}
        checkpoints.save(trial, {"processes": [*state["processes"], os.getpid()]})
        return trial.suggest_float("x", 0, 1)

    study = optuna.create_study(
        sampler=EPBTSampler(2, n_elites=1, seed=0), storage=journal_storage(tmp_path / "study.log")
    )
    optimize(study, objective, n_trials=4, workers=1, show_progress_bar=False)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 4
    processes = checkpoints.load(study.trials[3])["processes"]
    assert os.getpid() not in processes
