"""The lock of journal files."""

from __future__ import annotations

import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from epbt_optuna import journal
from epbt_optuna.journal import JournalLock, journal_storage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study.log"


def test_only_one_at_a_time_holds_the_lock(path: Path) -> None:
    counter, most = 0, 0

    def work() -> None:
        nonlocal counter, most
        lock = JournalLock(path)
        for _ in range(100):
            lock.acquire()
            counter += 1
            most = max(most, counter)
            counter -= 1
            lock.release()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_who_waits_long_for_the_lock_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(journal, "_LOG_SECONDS", 0.0)
    holder, other = JournalLock(path), JournalLock(path)
    holder.acquire()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(other.acquire)
        while not caplog.records:
            time.sleep(0.01)
        assert not waiting.done()
        holder.release()
        assert waiting.result()
    assert caplog.messages == [
        f"Waiting for the lock of {path}, which another process or thread holds."
    ]
    other.release()


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (b"", b""),
        (b"{}\n", b"{}\n"),
        (b"{", b""),
        (b"{}\n{", b"{}\n"),
        (b"{}\n" * 5000 + b"x" * 5000, b"{}\n" * 5000),
    ],
)
def test_the_last_line_is_cut_off_if_it_was_cut_short(
    path: Path, written: bytes, kept: bytes
) -> None:
    path.write_bytes(written)
    lock = JournalLock(path)
    lock.acquire()
    assert path.read_bytes() == kept
    lock.release()


def test_releasing_a_lock_that_is_not_held_is_an_error(path: Path) -> None:
    lock = JournalLock(path)
    lock.acquire()
    lock.release()
    with pytest.raises(RuntimeError, match=r"study\.log cannot be released: it is not held"):
        lock.release()


def test_a_storage_with_the_lock_can_be_pickled_for_other_processes(path: Path) -> None:
    storage = journal_storage(path)
    study_id = pickle.loads(pickle.dumps(storage)).create_new_study([], "study")
    assert storage.get_study_id_from_name("study") == study_id
