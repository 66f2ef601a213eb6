"""A small run with everything a trial can be: pruned, failed, with reports, attrs and categories.

As a program, `python -m tests.tracking.training`, it is one process of a run that may have several:

    python -m tests.tracking.training TRACKING_URI JOURNAL N_TRIALS EXPERIMENT

It writes `<number>` for each trial that it has told.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import optuna
from optuna.storages import BaseStorage

from epbt_optuna import EPBTSampler
from epbt_optuna.journal import journal_storage
from epbt_optuna.tracking import MLflowTracker

__all__ = ["NAME", "make_study", "objective", "run"]

NAME = "a study"
_SECONDS = 0.02


def make_study(storage: BaseStorage | str | None = None) -> optuna.Study:
    """Create or reopen the study: generations of 6, 3, 3, … trials."""
    return optuna.create_study(
        study_name=NAME,
        direction="maximize",
        sampler=EPBTSampler(6, seed=0),
        storage=storage,
        load_if_exists=True,
    )


def open_journal(path: str) -> optuna.Study:
    """Create or reopen the study in a journal."""
    return make_study(journal_storage(path))


def objective(trial: optuna.Trial) -> float:
    """Train nothing; every seventh trial is pruned, every eleventh fails."""
    x = trial.suggest_float("x", 0.0, 1.0)
    trial.suggest_categorical("activation", ["relu", "tanh"])
    trial.set_user_attr("note", f"of {trial.number}")
    trial.set_user_attr("device", "cpu:0")
    trial.set_user_attr("fitness", x / 2)  # a name of ours
    for epoch in range(3):
        trial.report(x * epoch, epoch)
    time.sleep(_SECONDS)
    if trial.number % 7 == 4:
        raise optuna.TrialPruned
    if trial.number % 11 == 8:
        trial.set_user_attr("error", "out of memory")
        raise MemoryError
    return x


def run(study: optuna.Study, tracker: MLflowTracker, n_trials: int, n_jobs: int = 1) -> None:
    """Run trials with the tracker."""
    study.optimize(
        objective, n_trials=n_trials, n_jobs=n_jobs, callbacks=[tracker], catch=MemoryError
    )


def _main(arguments: Sequence[str]) -> None:
    tracking_uri, journal, n_trials, experiment = arguments
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    study = open_journal(journal)
    tracker = MLflowTracker(tracking_uri, experiment=experiment, pictures_every=0)
    for i in range(int(n_trials)):
        run(study, tracker, 1)
        sys.stdout.write(f"{i}\n")
        sys.stdout.flush()
    tracker.close()


if __name__ == "__main__":
    _main(sys.argv[1:])
