"""Result files hold every job that ended, whoever else was writing."""

from __future__ import annotations

import os
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from examples.paper import ExperimentError
from examples.paper.results import Record, add_record, read_records

N_WRITERS, N_RECORDS = 4, 8


def record_of(arm: str, seed: int, **more: Any) -> Record:
    return {"settings": {"arm": {"name": arm}}, "seed": seed, **more}


def write_records(path: Path, arm: str) -> None:
    for seed in range(N_RECORDS):
        add_record(path, record_of(arm, seed))


def test_jobs_that_end_at_the_same_time_in_several_processes_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "results" / "digits.jsonl"
    context = get_context("spawn")
    writers = [
        context.Process(target=write_records, args=(path, f"arm-{i}")) for i in range(N_WRITERS)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=60)
    assert [writer.exitcode for writer in writers] == [0] * N_WRITERS
    wanted = [(f"arm-{i}", seed) for i in range(N_WRITERS) for seed in range(N_RECORDS)]
    assert list(read_records(path)) == wanted


def test_lines_are_sorted_by_arm_and_by_seed_as_a_number(tmp_path: Path) -> None:
    path = tmp_path / "digits.jsonl"
    for arm, seed in (("b", 10), ("b", 9), ("a", 1)):
        add_record(path, record_of(arm, seed))
    assert list(read_records(path)) == [("a", 1), ("b", 9), ("b", 10)]
    assert len(path.read_text(encoding="utf-8").splitlines()) == 3


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "digits.jsonl"
    record = record_of("a", 0, curve=[[1, None, 0.1 + 0.2]], device="one line\nand\u2028another")
    add_record(path, record)
    assert read_records(path) == {("a", 0): record}


def test_a_writer_killed_before_its_file_is_in_place_costs_only_its_own_record(
    tmp_path: Path,
) -> None:
    path = tmp_path / "digits.jsonl"
    add_record(path, record_of("a", 0))
    before = path.read_bytes()
    script = (
        "import os, pathlib, sys\n"
        "from tests.paper.test_results import add_record, record_of\n"
        "pathlib.Path.replace = lambda *_: os._exit(9)\n"
        "add_record(pathlib.Path(sys.argv[1]), record_of('a', 1))\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, os.fspath(path)], cwd=Path(__file__).parents[2], check=False
    )
    assert killed.returncode == 9
    assert path.read_bytes() == before
    add_record(path, record_of("a", 2))
    assert list(read_records(path)) == [("a", 0), ("a", 2)]


def test_a_file_that_holds_something_else_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "digits.jsonl"
    path.write_text("mine\n", encoding="utf-8")
    with pytest.raises(ExperimentError, match=r"line 1, is not a result"):
        add_record(path, record_of("a", 0))
    assert path.read_text(encoding="utf-8") == "mine\n"
