"""Workers killed with SIGKILL in mid-trial, again and again: `python -m tests.parallel.killing`.

The test kills a few, the program twenty.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna
from optuna.trial import TrialState

from epbt_optuna import EPBTSampler
from epbt_optuna.parallel import optimize
from tests.parallel.runs import RULES, Marking, journal_study, trials_in
from tests.replay import check_lineage

__all__ = ["run"]


class _Killer(threading.Thread):
    """Kills the worker of each of these trials when it has begun."""

    def __init__(self, folder: Path, doomed: set[int]) -> None:
        super().__init__(daemon=True)
        self._folder = folder
        self._doomed = doomed

    def run(self) -> None:
        killed: set[int] = set()
        while killed != self._doomed:
            begun = trials_in(self._folder)
            for number in begun.keys() & self._doomed - killed:
                os.kill(begun[number], signal.SIGKILL)
                killed.add(number)
            time.sleep(0.01)


def run(folder: Path, n_kills: int, n_generations: int) -> list[int]:
    """Run a study under fire, and return the numbers of the trials that were lost.

    Raises:
        AssertionError: The run did not come to its end, more or other trials were lost than
            workers killed, or the lineage breaks the rules.
    """
    study = journal_study(folder / "log")
    assert isinstance(study.sampler, EPBTSampler)
    n_trials = study.sampler.n_trials(n_generations)
    doomed = set(random.Random(0).sample(range(n_trials), n_kills))
    _Killer(folder, doomed).start()
    optimize(
        study,
        Marking(folder, held=doomed),
        n_generations=n_generations,
        devices=["cpu", "cpu"],
    )
    trials = study.get_trials()
    lost = [trial.number for trial in trials if trial.state == TrialState.FAIL]
    assert len(trials) == n_trials
    assert lost == sorted(doomed)
    assert all(trial.state.is_finished() for trial in trials)
    check_lineage(trials, RULES)
    return lost


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    start = time.perf_counter()
    with TemporaryDirectory() as name:
        lost = run(Path(name), n_kills=20, n_generations=15)
    sys.stdout.write(
        f"20 workers killed in mid-trial, {len(lost)} trials lost: {lost}; the run ended and all "
        f"checks passed in {time.perf_counter() - start:.0f} s\n"
    )
