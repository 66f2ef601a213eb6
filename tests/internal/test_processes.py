"""When a process was started, and that one which has ended is not there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from epbt_optuna._internal import processes
from epbt_optuna._internal.processes import start_of

HAS_PROC = Path("/proc/self/stat").exists()
HAS_PS = shutil.which("ps") is not None


@pytest.fixture(params=["proc", "ps"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ask the system in each of the ways that there are."""
    if not (HAS_PROC if request.param == "proc" else HAS_PS):
        pytest.skip(f"there is no {request.param} here")
    if request.param == "ps":
        monkeypatch.setattr(processes, "_PROC", tmp_path)


@pytest.mark.usefixtures("_way")
def test_a_process_has_one_start_and_none_once_it_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert start_of(child.pid)
        assert start_of(child.pid) == start_of(child.pid)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert start_of(child.pid) == ""  # nobody has asked yet how it ended
    assert start_of(child.pid) == ""
    assert start_of(os.getpid()) != ""


@pytest.mark.skipif(not HAS_PROC, reason="only there are starts counted in small steps")
def test_processes_differ_in_their_start() -> None:
    assert start_of(os.getpid()) != start_of(1)


def test_where_the_system_does_not_say_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(processes, "_PROC", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert start_of(os.getpid()) is None
    monkeypatch.setattr(os, "name", "nt")
    assert start_of(os.getpid()) is None
