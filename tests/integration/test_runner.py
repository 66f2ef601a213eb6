"""Jobs of the examples in worker processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from epbt_optuna._internal.processes import start_of
from examples.runner import alone_in, run_jobs

PATIENCE = 60.0


def write_and_sleep(folder: Path, i: int, _: Callable[..., None]) -> None:
    """Say which process this is, and train for long."""
    (folder / str(i)).write_text(str(os.getpid()))
    time.sleep(PATIENCE * 3)


def drive(folder: Path) -> None:
    """Run two such jobs, of one folder."""
    run_jobs([partial(write_and_sleep, folder, i) for i in range(2)], 2, 2, folder)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="children are read from /proc")
def test_a_driver_that_is_killed_leaves_neither_processes_nor_its_lock(tmp_path: Path) -> None:
    program = f"from tests.integration.test_runner import *; drive(Path({str(tmp_path)!r}))"
    driver = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    files = [tmp_path / "0", tmp_path / "1"]
    wait_for(lambda: all(file.exists() and file.read_text() for file in files))
    listed = Path(f"/proc/{driver.pid}/task/{driver.pid}/children").read_text()
    children = [int(number) for number in listed.split()]
    assert {int(file.read_text()) for file in files} < {*children}  # one more serves the workers
    assert all(start_of(child) for child in children)
    with pytest.raises(SystemExit, match=f"Another run works in {re.escape(str(tmp_path))}"):
        drive(tmp_path)
    driver.kill()
    driver.wait()
    wait_for(lambda: not any(start_of(child) for child in children))
    with alone_in(tmp_path):
        pass


def test_a_run_that_fails_leaves_its_folder_to_the_next(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="diverged"), alone_in(tmp_path / "made"):
        raise RuntimeError("diverged")
    with alone_in(tmp_path / "made"):
        pass
