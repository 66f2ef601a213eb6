"""`epbt watch`: the summary of a study that others run, drawn anew as it changes."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime, timedelta

from optuna import Study
from optuna.trial import FrozenTrial
from rich.console import Console
from rich.live import Live
from rich.text import Text

from epbt_optuna.cli._console import console
from epbt_optuna.cli._summary import summary_of
from epbt_optuna.lineage.overview import GENERATION_COLUMNS, generation_rows
from epbt_optuna.population import Generations

__all__ = ["watch_study"]

_QUIET = timedelta(minutes=1)  # far longer than it is quiet between two trials of a run


def watch_study(study: Study, n_generations: int | None, interval: float) -> None:
    """Show a study until it is done, or until Ctrl-C.

    Args:
        study: The study; it may have no trials yet.
        n_generations: It is done when so many generations are finished. None: when nothing runs,
            and the last trial ended a minute ago.
        interval: Seconds from one look to the next.

    Raises:
        ValueError: No sampler of ours has asked a trial in the study.
    """
    terminal = console()
    follow = _draw if terminal.is_terminal else _list
    with suppress(KeyboardInterrupt):  # it is how one stops to watch, and no failure
        follow(study, terminal, n_generations, interval)


def _draw(study: Study, terminal: Console, n_generations: int | None, interval: float) -> None:
    with Live(console=terminal, auto_refresh=False) as live:
        while True:
            is_done = _is_done(study, n_generations)  # before what is shown is read
            if _has_begun(study):
                # `Live` would cut the newest generations off, which are the last lines.
                live.update(summary_of(study, terminal, terminal.height - 1), refresh=True)
            else:
                live.update(Text(f"{study.study_name} has no trials yet."), refresh=True)
            if is_done:
                return
            time.sleep(interval)


def _list(study: Study, terminal: Console, n_generations: int | None, interval: float) -> None:
    """Write each generation's row when it has changed: a file keeps what was written before."""
    written: list[tuple[str, ...]] = []
    terminal.print(study.study_name)
    while True:
        is_done = _is_done(study, n_generations)
        rows = generation_rows(study) if _has_begun(study) else []
        for number, row in enumerate(rows):
            if number >= len(written) or row != written[number]:
                cells = zip(GENERATION_COLUMNS, row, strict=True)
                terminal.print("  ".join(f"{name} {cell}" for name, cell in cells if cell))
        terminal.file.flush()
        written = rows
        if is_done:
            return
        time.sleep(interval)


def _has_begun(study: Study) -> bool:
    """Return whether there is something to show, or to complain of.

    A sampler records what generations are while its first trial is running already, and trials may
    have been enqueued long before.
    """
    has_ended = any(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))
    return has_ended or Generations.recorded(study) is not None


def _is_done(study: Study, n_generations: int | None) -> bool:
    trials = study.get_trials(deepcopy=False)
    if n_generations is None:
        ended = [trial.datetime_complete for trial in trials]
        return _are_finished(trials) and max(filter(None, ended)) < datetime.now() - _QUIET
    generations = Generations.recorded(study)
    if generations is None:
        return False
    wanted = trials[: generations.n_trials(n_generations)]
    return len(wanted) == generations.n_trials(n_generations) and _are_finished(wanted)


def _are_finished(trials: list[FrozenTrial]) -> bool:
    return bool(trials) and all(trial.state.is_finished() for trial in trials)
