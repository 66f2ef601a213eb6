"""The progress bar of a run: generation, best, median, failed, pruned, trials a second, ETA.

Where there is none, every trial has a line in the log.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from statistics import median

from optuna import Study
from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from epbt_optuna.parallel.run_log import RunLog
from epbt_optuna.population import Individual

__all__ = ["Progress"]


class Progress:
    """One bar on the standard error stream, and lines in the log: see `RunLog`.

    There is no bar where that stream is no terminal. Where there is one, lines go above it.

    Args:
        study: The study, for its direction and its best trial so far.
        n_trials: How many trials the run has.
        shown: False for no bar at all.
    """

    def __init__(self, study: Study, n_trials: int, shown: bool) -> None:
        # tqdm takes None for "where it is a terminal". A program may have no such stream at all.
        disable = None if shown and sys.stderr is not None else True
        self._bar = tqdm(total=n_trials, unit=" trials", disable=disable)
        self._redirected = ExitStack()
        if not self._bar.disable:
            self._redirected.enter_context(logging_redirect_tqdm([*_loggers_of_the_terminal()]))
        self._log = RunLog(study, every_trial=self._bar.disable)
        self._study = study
        self._n_failed = self._n_pruned = 0
        self._generation: int | None = None
        self._values: list[float] = []
        self._best: Individual | None = None
        self._best_value: float | None = None
        self._shows_best = not self._bar.disable and len(study.directions) == 1
        if self._shows_best:
            for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
                self._note_best(trial)

    def show_start(self, n_ready: int, n_workers: int) -> None:
        """Show how many workers are ready: their imports may take many seconds."""
        if n_ready == 0:
            self._log.start(n_workers, self._bar.total)
        starts = n_ready < n_workers
        self._bar.set_description(f"{n_ready} of {n_workers} workers ready" if starts else "")

    def update(self, trial: FrozenTrial, generation: int | None) -> None:
        """Count a finished trial, of this generation if the sampler has any."""
        self._log.update(trial, generation)
        if self._bar.disable:
            return
        self._n_failed += trial.state == TrialState.FAIL
        self._n_pruned += trial.state == TrialState.PRUNED
        if generation is not None and (self._generation is None or generation > self._generation):
            self._generation, self._values = generation, []
        if self._shows_best and trial.state == TrialState.COMPLETE:
            self._note_best(trial)
            if generation == self._generation:  # a straggler's is not
                self._values.append(trial.values[0])
        self._bar.set_postfix(self._figures(), refresh=False)
        self._bar.update()

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()
        self._redirected.close()

    def _note_best(self, trial: FrozenTrial) -> None:
        individual = Individual.of(trial, self._study.direction)
        if self._best is None or individual.rank_key > self._best.rank_key:
            self._best, self._best_value = individual, trial.values[0]

    def _figures(self) -> dict[str, str | int]:
        figures: dict[str, str | int] = {}
        if self._generation is not None:
            figures["generation"] = self._generation
        if self._best_value is not None:
            figures["best"] = f"{self._best_value:.4g}"
        if self._values:
            figures["median"] = f"{median(self._values):.4g}"
        return {**figures, "failed": self._n_failed, "pruned": self._n_pruned}


def _loggers_of_the_terminal() -> Iterator[logging.Logger]:
    """Yield the loggers whose lines would tear a bar: Optuna's, and the root for all others."""
    for logger in (logging.getLogger("optuna"), logging.getLogger()):
        streams = [getattr(handler, "stream", None) for handler in logger.handlers]
        # Without any handler, Python writes warnings to the standard error stream by itself.
        is_bare = logger.name == "root" and not streams
        if is_bare or sys.stderr in streams or sys.stdout in streams:
            yield logger
