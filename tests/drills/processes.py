"""Processes for drills: each drill is a program that forks its workers.

A drill runs in a process of its own, which has one thread and has opened nothing, so that it can
fork; and it imports everything once, so that a forked worker is at work at once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

__all__ = ["exit_status", "finish", "forked", "memory_folder", "run_program"]

_REPOSITORY = Path(__file__).parent.parent.parent


def run_program(module: str, settings: dict[str, Any]) -> Any:
    """Run a drill's program and return what it answers.

    Args:
        module: Its name; it takes `settings` as JSON in its only argument, and writes its answer
            as JSON to the standard output.
        settings: What it is to do.

    Raises:
        subprocess.CalledProcessError: It failed; why is on the standard error stream.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, json.dumps(settings)],
        cwd=_REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        check=True,
        stdout=subprocess.PIPE,
    )
    return json.loads(done.stdout)


def memory_folder() -> TemporaryDirectory[str]:
    """Return a temporary folder, in memory where the system has such.

    What a killed process had written is there all the same; only a power cut would tell. The
    drills are not about the speed of the disk.
    """
    shared_memory = "/dev/shm"
    return TemporaryDirectory(dir=shared_memory if os.access(shared_memory, os.W_OK) else None)


def forked(work: Callable[[], object]) -> int:
    """Run `work` in a forked process and return its id."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return process


def exit_status(process: int) -> int:
    """Wait for a process and return its exit status, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def finish(process: int) -> None:
    """Wait for a process that is to end well.

    Raises:
        RuntimeError: It did not.
    """
    if (status := exit_status(process)) != 0:
        raise RuntimeError(f"A process ended with status {status}.")
