"""Journal files: their lock, and what is written, synchronised and read."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from epbt_optuna import EPBTSampler, ask_generation, journal
from epbt_optuna.journal import JournalLock, journal_storage, synchronized_once

LINE = b'{"op_code":0,"worker_id":"w","study_name":"s","directions":[1]}\n'


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
        (LINE, LINE),
        (b"{", b""),
        (LINE[:-1], b""),
        (LINE + b"{", LINE),
        (LINE + bytes(100), LINE),
        (b'{"op_code": 0}\n' + LINE[:-2], b'{"op_code": 0}\n'),
        (LINE * 5000 + b"x" * 5000, LINE * 5000),
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


@pytest.mark.parametrize("open_it", [journal_storage, JournalLock], ids=["storage", "lock"])
@pytest.mark.parametrize(
    "content",
    [
        b'{"important": "last year\'s results"}',
        b'{"loss": 1}\n{"loss": 0.5}',
        b'["op_code"]\n',
        b'"op_code"\n',
        b"epoch,loss\n1,0.5",
        b"SQLite format 3\x00" + bytes(100),
        b"\x80\x04\x95",
        b"\n",
        bytes(4096),
        b"[" * 100_000,
    ],
    ids=lambda content: repr(content[:20]),
)
def test_a_file_that_is_no_journal_is_an_error_and_keeps_every_byte(
    path: Path, content: bytes, open_it: Callable[[Path], object]
) -> None:
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"`path` must be a journal .*study\.log is none"):
        open_it(path)
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_file_that_stops_being_a_journal_keeps_every_byte(path: Path) -> None:
    lock = JournalLock(path)
    path.write_bytes(b"no journal")
    with pytest.raises(ValueError, match=r"study\.log is none; it is left as it is"):
        lock.acquire()
    assert path.read_bytes() == b"no journal"


def test_a_folder_and_a_url_are_no_journals(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`path` must be a journal of Optuna's"):
        journal_storage(tmp_path)
    with pytest.raises(ValueError, match=r"`path` must be a local path but got 's3://bucket/log'"):
        journal_storage("s3://bucket/log")


def test_a_journal_that_a_crash_cut_short_goes_on(path: Path) -> None:
    study = optuna.create_study(storage=journal_storage(path), study_name="s")
    study.add_trial(optuna.create_trial(value=1.0))
    with path.open("ab") as file:
        file.write(LINE[:20])
    study = optuna.load_study(storage=journal_storage(path), study_name="s")
    study.add_trial(optuna.create_trial(value=2.0))
    assert [trial.value for trial in study.trials] == [1.0, 2.0]


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _make_anew(path: Path) -> None:
    path.unlink()
    journal_storage(path)


def _put_another_in_its_place(path: Path) -> None:
    study = optuna.create_study(storage=journal_storage(path.with_name("other")), study_name="s")
    study.optimize(lambda trial: trial.suggest_float("another", 0, 1), n_trials=9)
    path.with_name("other").replace(path)


@pytest.mark.parametrize("harm", [_cut, _empty, _make_anew, _put_another_in_its_place])
@pytest.mark.parametrize("is_writing", [True, False])
def test_a_journal_that_is_replaced_under_a_study_is_an_error_and_keeps_every_whole_line(
    path: Path, harm: Callable[[Path], None], is_writing: bool
) -> None:
    study = optuna.create_study(storage=journal_storage(path), study_name="s")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    harm(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"study\.log was cut, or replaced by another file"):
        study.set_user_attr("a", 1) if is_writing else study.get_trials()
    n_bytes = before.rfind(b"\n") + 1 if is_writing else len(before)  # a torn line may be cut off
    assert path.read_bytes() == before[:n_bytes]


@pytest.mark.parametrize("line", [b"{\n", b"\n", bytes(9) + b"\n", b"x" * 9 + b"\n"])
def test_a_line_that_cannot_be_read_is_named_with_what_can_be_saved(
    path: Path, line: bytes
) -> None:
    study = optuna.create_study(storage=journal_storage(path), study_name="s")
    study.add_trial(optuna.create_trial(value=1.0))
    n_lines = len(path.read_bytes().splitlines())
    with path.open("ab") as file:
        file.write(line + LINE)
    message = rf"study\.log is damaged in line {n_lines + 1}: .*`head -n {n_lines}`"
    with pytest.raises(ValueError, match=message):
        journal_storage(path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:n_lines]))
    study = optuna.load_study(storage=journal_storage(path), study_name="s")
    assert [trial.value for trial in study.trials] == [1.0]


def test_a_relative_journal_stays_where_it_was_when_the_working_directory_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    study = optuna.create_study(storage=journal_storage("study.log"), study_name="s")
    monkeypatch.chdir("elsewhere")
    study.add_trial(optuna.create_trial(value=1.0))
    assert list((tmp_path / "elsewhere").iterdir()) == []
    again = optuna.load_study(storage=journal_storage("../study.log"), study_name="s")
    assert [trial.value for trial in again.trials] == [1.0]


def test_variables_and_reports_are_synchronised_with_the_next_attr_or_the_trials_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study(storage=journal_storage(path), sampler=EPBTSampler(4, seed=0))
    study.tell(study.ask(), 0.0)  # the first ask writes the study's attrs
    calls: list[str] = []
    synchronised = os.fsync

    def note(descriptor: int) -> None:
        calls.append(step)
        synchronised(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    step = "ask"
    trial = study.ask()
    step = "suggest"
    trial.suggest_float("x", 0, 1)
    step = "report"
    trial.report(0.5, 0)
    step = "attr"
    trial.set_user_attr("note", 1)
    step = "tell"
    study.tell(trial, 0.5)
    assert calls == ["ask", "ask", "attr", "tell"]  # the trial itself, and its lineage


@pytest.mark.parametrize("raises", [False, True])
def test_a_block_is_synchronised_once_however_it_ends(
    path: Path, monkeypatch: pytest.MonkeyPatch, raises: bool
) -> None:
    storage, sampler = journal_storage(path), EPBTSampler(4, seed=0)
    study = optuna.create_study(storage=storage, sampler=sampler, study_name="study")
    written: list[int] = []
    synchronised = os.fsync

    def note(descriptor: int) -> None:
        written.append(len(_read_anew(path).trials))
        synchronised(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    with suppress(KeyboardInterrupt), synchronized_once(study):
        with synchronized_once(study):
            trials = ask_generation(study)
        del written[:]
        study.tell(trials[0], 0.5)
        if raises:
            raise KeyboardInterrupt
        study.tell(trials[1], 0.5)
    assert written == [4]
    study.tell(trials[2], 0.5)
    assert len(written) == 2
    with synchronized_once(study):  # of what is never synchronised by itself
        trials[3].report(0.5, 0)
    assert len(written) == 2


def test_workers_on_optunas_backend_and_on_ours_see_the_same_study(path: Path) -> None:
    ours = optuna.create_study(storage=journal_storage(path), study_name="study")
    backend = JournalFileBackend(str(path), lock_obj=JournalLock(path))
    optunas = optuna.load_study(study_name="study", storage=JournalStorage(backend))
    for study in (ours, optunas, ours):
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), 2)
    assert len(ours.trials) == 6
    assert ours.trials == optunas.trials == _read_anew(path).trials


def test_a_line_that_is_being_written_is_read_when_it_is_whole(path: Path) -> None:
    path.write_bytes(LINE + LINE[:20])
    storage = journal_storage(path)
    assert [study.study_name for study in storage.get_all_studies()] == ["s"]
    path.write_bytes(LINE + LINE.replace(b'"s"', b'"other"'))
    assert [study.study_name for study in storage.get_all_studies()] == ["s", "other"]


def test_a_line_is_written_whole_where_the_system_takes_it_in_parts(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:10]))
    study = optuna.create_study(storage=journal_storage(path), study_name="study")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), 2)
    assert _read_anew(path).trials == study.trials


def test_what_a_trial_may_not_write_any_more_is_an_error_and_the_next_line_is_read(
    path: Path,
) -> None:
    """Optuna raises while it takes the lines, one by one."""
    study = optuna.create_study(storage=journal_storage(path), study_name="study")
    trial = study.ask()
    _read_anew(path).tell(trial.number, 1.0)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        trial.set_user_attr("late", 1)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), 1)
    assert [trial.value for trial in _read_anew(path).trials] == [1.0, study.trials[1].value]


def _read_anew(path: Path) -> optuna.Study:
    return optuna.load_study(study_name="study", storage=journal_storage(path))
