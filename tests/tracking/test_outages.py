"""Servers that are down, that come back, or that never answer."""

from __future__ import annotations

import logging
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow import MlflowClient

from epbt_optuna.tracking import MLflowTracker, TrackingError, worker
from epbt_optuna.tracking.delivery import Delivery
from tests.tracking.checks import check, children_of
from tests.tracking.servers import MLflowServer
from tests.tracking.training import make_study, open_journal, run


@pytest.fixture
def own_server(empty_database: Path, tmp_path: Path) -> Iterator[MLflowServer]:
    """A server that the test may stop; it is not started yet."""
    shutil.copy(empty_database, tmp_path)
    server = MLflowServer(tmp_path)
    try:
        yield server
    finally:
        server.stop()


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "optuna.epbt_optuna.tracking" and record.levelno >= logging.WARNING
    ]


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_server_that_is_down_at_first_and_for_a_while_misses_nothing(
    own_server: MLflowServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(worker, "_PATIENCE_SECONDS", 1.0)
    study = open_journal(str(tmp_path / "study.log"))
    with MLflowTracker(own_server.url, pictures_every=0) as tracker:
        run(study, tracker, 12)  # and what it missed that stayed down is there after sync
    down, gave_up = warnings_in(caplog)
    assert "cannot be reached" in down
    assert "12 trials are left; `MLflowTracker.sync(study)` or `epbt sync`" in gave_up
    with pytest.raises(TrackingError, match="is still down"):
        tracker.sync(study)
    own_server.start()
    for _ in range(2):
        tracker.sync(study)
        check(study, own_server.url, 12)
    caplog.clear()
    with MLflowTracker(own_server.url, pictures_every=0) as tracker:
        run(study, tracker, 8)
        wait_for(lambda: len(children_of(own_server.url)) > 12)
        own_server.stop()
        run(study, tracker, 8)
        wait_for(lambda: warnings_in(caplog))
        own_server.start()
        run(study, tracker, 8)
    warning = warnings_in(caplog)[0]
    assert own_server.url in warning
    assert "Training goes on" in warning
    tracker.sync(study)
    check(study, own_server.url, 36)


def test_a_step_that_takes_long_and_fails_once_is_tried_again_at_the_end_too(
    database: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[object] = []

    def begin(*arguments: Any) -> Delivery:
        begun.append(arguments)
        if len(begun) == 1:  # as the import of MLflow may take
            time.sleep(0.4)
            raise ConnectionError("reset")
        return Delivery(*arguments)

    monkeypatch.setattr(worker, "_PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(worker, "_PAUSES", (0.01,))
    monkeypatch.setattr(worker, "Delivery", begin)
    study = make_study()
    with MLflowTracker(database, pictures_every=0) as tracker:
        run(study, tracker, 1)
    check(study, database, 1)
    assert warnings_in(caplog) == []


@pytest.mark.parametrize("is_obeyed", [True, False])
@pytest.mark.parametrize("request_", ["create_run", "set_tag"])
def test_a_request_that_fails_in_the_election_leaves_no_candidate_to_wait_for(
    database: str, monkeypatch: pytest.MonkeyPatch, request_: str, is_obeyed: bool
) -> None:
    obey = getattr(MlflowClient, request_)
    n_failures = 0

    def fail_once(*arguments: Any, **options: Any) -> Any:
        nonlocal n_failures
        answer = obey(*arguments, **options) if is_obeyed or n_failures else None
        n_failures += 1
        if n_failures == 1:
            raise ConnectionError("reset")
        return answer

    def wait(_: float) -> None:
        raise AssertionError("it waits for another one")

    monkeypatch.setattr(MlflowClient, request_, fail_once)
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=wait)
    monkeypatch.setattr("epbt_optuna.tracking.experiment.time", clock)
    study = make_study()
    with MLflowTracker(database, pictures_every=0) as tracker:
        run(study, tracker, 1)
    check(study, database, 1)


def test_training_does_not_wait_for_a_server_that_never_answers() -> None:
    """It ends while a request is out, and the server answers none."""
    asked = threading.Event()
    connections: list[socket.socket] = []

    def accept(silent: socket.socket) -> None:
        with suppress(OSError):  # closed, at the end of the test
            while True:
                connections.append(silent.accept()[0])
                asked.set()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        threading.Thread(target=accept, args=[silent], daemon=True).start()
        tracker = MLflowTracker(f"http://127.0.0.1:{silent.getsockname()[1]}", pictures_every=0)
        study = make_study()
        run(study, tracker, 3)
        assert asked.wait(60)
        run(study, tracker, 30)
        silent.shutdown(socket.SHUT_RDWR)
    for connection in connections:
        connection.close()
    tracker.close()


def test_what_is_left_when_the_interpreter_ends_is_said_and_found_by_sync(
    database: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_open = threading.Event()
    deliver = Delivery.deliver

    def wait_and_deliver(self: Delivery, number: int, **options: bool) -> None:
        assert is_open.wait(60)
        deliver(self, number, **options)

    monkeypatch.setattr(Delivery, "deliver", wait_and_deliver)
    study = make_study()
    tracker = MLflowTracker(database, pictures_every=0)
    run(study, tracker, 3)
    assert not tracker._started[0].close(seconds=0)
    assert "3 trials are left; `MLflowTracker.sync(study)` or `epbt sync`" in caplog.text
    is_open.set()
    tracker.sync(study)
    check(study, database, 3)


def test_a_full_queue_drops_trials_and_the_end_finds_them(
    database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(worker, "_QUEUE_SIZE", 1)
    is_open = threading.Event()

    def wait_and_begin(*arguments: Any) -> Delivery:
        assert is_open.wait(60)
        return Delivery(*arguments)

    monkeypatch.setattr(worker, "Delivery", wait_and_begin)
    study = open_journal(str(tmp_path / "study.log"))
    with MLflowTracker(database, pictures_every=0) as tracker:
        run(study, tracker, 9)  # returns, while nothing is taken from the queue
        is_open.set()
    check(study, database, 9)
