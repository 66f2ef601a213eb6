"""Which process this is, and whether another one of this machine still runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

__all__ = ["start_of"]

_PROC = Path("/proc")


def start_of(process: int) -> str | None:
    """Return when a process of this machine was started, in the system's own words.

    A number is given again to a later process, which has another start.

    Args:
        process: Its number.

    Returns:
        The start; empty if there is no such process, or only what is left of it until somebody
        asks how it ended; None where the system does not say.
    """
    if (_PROC / "self" / "stat").exists():
        return _start_in_proc(process)
    return _start_by_ps(process) if os.name == "posix" else None


def _start_in_proc(process: int) -> str:
    try:
        fields = (_PROC / str(process) / "stat").read_text().rpartition(")")[2].split()
        n_threads = len(os.listdir(_PROC / str(process) / "task"))
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # Field 3 of proc(5), the state, comes first here, and field 22 is the start. The first thread
    # of a process that is killed may be gone before the others are.
    return "" if fields[0] in "XZ" and n_threads <= 1 else fields[19]


def _start_by_ps(process: int) -> str | None:
    command = ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(process)]
    try:
        said = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}
        )
    except OSError:
        return None
    state, _, start = said.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else start.strip()
