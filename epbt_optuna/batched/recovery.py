"""What a call of `batched.optimize` leaves RUNNING when it is cut off, the next call goes on with.

One process drives a study in batches, but it need not be the only one that runs its trials. So
each trial says which process and which call asked it, and is taken up only when that one is
certainly gone.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.attrs import DRIVEN
from epbt_optuna._internal.processes import start_of
from epbt_optuna._internal.text import get_logger
from epbt_optuna.checkpoints.preemption import resume
from epbt_optuna.population import Generations

__all__ = ["driving", "take_up"]

_logger = get_logger("epbt_optuna.batched")

_calls: set[str] = set()  # those of this process that run; each change is one step of Python's


@contextmanager
def driving() -> Iterator[dict[str, Any]]:
    """Yield the record of this call for the trials that it asks, but for their numbers."""
    process = os.getpid()
    call = secrets.token_hex(8)
    _calls.add(call)
    try:
        yield {
            "host": socket.gethostname(),
            "process": process,
            "start": start_of(process) or "",
            "call": call,
        }
    finally:
        _calls.discard(call)


def take_up(study: Study, generations: Generations, end: int) -> list[int]:
    """Return the trials to go on with that calls which are gone have left RUNNING, by number.

    Those are the ones of the newest generation. They go on as themselves (`reopen`), so nothing
    shows that anybody was cut off. If the study has gone on without them, their generation is
    over: who was bred since was not bred from them. They are failed, and queued to be run again
    with their params and parents (`resume`).

    Args:
        study: The study.
        generations: Its arithmetic.
        end: The number of trials that the study is to have; nothing is queued beyond.

    Raises:
        RuntimeError: Another call that still runs drives the study.
    """
    trials = study.get_trials(deepcopy=False)
    asked = [trial for trial in trials if trial.state != TrialState.WAITING]
    running = [trial for trial in asked if trial.state == TrialState.RUNNING]
    newest = generations.of(asked[-1].number) if asked else 0
    left, foreign = [], []
    n_trials = len(trials)
    for trial in running:
        if not _is_left(trial):
            foreign.append(trial.number)
        elif generations.of(trial.number) == newest:
            left.append(trial.number)
        elif n_trials < end:
            resume(study, trial)
            n_trials += 1
        else:
            study.tell(trial.number, state=TrialState.FAIL)
    if foreign:
        _logger.warning(
            "Trials %s are RUNNING, and nothing shows whether their processes live: they are left "
            "as they are. If those are gone, `epbt running --resume` or `epbt_optuna.resume` "
            "queues the trials again.",
            foreign,
        )
    return left


def _is_left(trial: FrozenTrial) -> bool:
    """Return whether a call that is certainly gone has asked a trial.

    Raises:
        RuntimeError: It certainly runs.
    """
    record = DRIVEN.of_trial(trial.number, trial.system_attrs)
    if record is None or record["number"] != trial.number:  # of the trial that this one retries
        return False
    is_gone = _is_gone(record)
    if is_gone is False:
        raise RuntimeError(
            f"`batched.optimize` in process {record['process']} is training trial {trial.number}: "
            "one process drives a study."
        )
    return bool(is_gone)


def _is_gone(record: Mapping[str, Any]) -> bool | None:
    """Return whether the call of a record has ended; None if that cannot be known."""
    if record["host"] != socket.gethostname():
        return None
    start = start_of(record["process"])
    if record["process"] == os.getpid() and record["start"] == (start or ""):
        return record["call"] not in _calls
    return None if start is None else start != record["start"]
