"""Studies and objectives for the tests of many workers. No torch: worker processes start sooner."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Container
from pathlib import Path

import optuna
from optuna.study import StudyDirection

from epbt_optuna import EPBTSampler
from epbt_optuna.journal import journal_storage
from tests.replay import Rules

__all__ = [
    "RULES",
    "SECONDS",
    "Marking",
    "journal_study",
    "quick",
    "release",
    "trials_in",
    "wait_until",
]

RULES = Rules(population_size=6, n_elites=3, direction=StudyDirection.MAXIMIZE)
SECONDS = 300.0  # for others to get there, on a busy machine too; less than the suite's timeout

_RELEASED = "released"


def journal_study(path: Path) -> optuna.Study:
    """Create, or open again, a study that other processes can reach."""
    return optuna.create_study(
        study_name="study",
        storage=journal_storage(path),
        sampler=EPBTSampler(RULES.population_size, n_elites=RULES.n_elites, seed=0),
        direction=RULES.direction,
        load_if_exists=True,
    )


def quick(trial: optuna.Trial) -> float:
    """Take no time."""
    return -abs(trial.suggest_float("x", -1, 1))


def is_there(process: int) -> bool:
    """Return whether a process runs; a zombie, which nobody has reaped yet, does not.

    Nor can anybody reap it before its last thread has ended.
    """
    try:
        status = Path(f"/proc/{process}/stat").read_text()
        n_threads = len(os.listdir(f"/proc/{process}/task"))
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z" or n_threads > 1


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what happens elsewhere; a worker whose test has gone does not wait for ever."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


class Marking:
    """An objective that leaves a file `<number>-<pid>` where it begins, and may be held there.

    Args:
        folder: For the files.
        held: Numbers of the trials that go on only after `release(folder)`.
    """

    def __init__(self, folder: Path, held: Container[int]) -> None:
        self.folder = folder
        self.held = held

    def __call__(self, trial: optuna.Trial) -> float:
        value = quick(trial)
        (self.folder / f"{trial.number}-{os.getpid()}").touch()
        if trial.number in self.held:
            wait_until((self.folder / _RELEASED).exists)
        return value


def release(folder: Path) -> None:
    """Let the held trials go on."""
    (folder / _RELEASED).touch()


def trials_in(folder: Path) -> dict[int, int]:
    """Return the process of each trial that has begun, by its number."""
    names = [path.name.split("-") for path in folder.glob("*-*")]
    return {int(number): int(process) for number, process in names}
