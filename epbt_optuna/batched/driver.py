"""The loop of a run in batches: ask trials, train them as one, tell them, call the callbacks.

Everything happens in one thread of one process. Until a trial is told it is RUNNING, with the
record of this call: whatever cuts the call off, Ctrl-C included, the next one goes on with it.
"""

from __future__ import annotations

import copy
import math
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from optuna import Study, Trial, TrialPruned
from optuna.trial import TrialState

from epbt_optuna._internal.attrs import DRIVEN, ERROR
from epbt_optuna._internal.optuna import read_existing
from epbt_optuna._internal.optuna_loop import fail_stale, reopen_trial, stop_requested, tell
from epbt_optuna._internal.text import cut, get_logger
from epbt_optuna.batched.generation import Generation
from epbt_optuna.batched.members import numbers
from epbt_optuna.checkpoints.store import CheckpointStore
from epbt_optuna.journal import synchronized_once
from epbt_optuna.parallel.driver import Callback
from epbt_optuna.parallel.interrupts import Interrupts
from epbt_optuna.parallel.progress import Progress
from epbt_optuna.parallel.queue import TrialQueue
from epbt_optuna.parallel.worker import note

__all__ = ["Driver", "Objective"]

Objective: TypeAlias = Callable[[Generation], Any]

_logger = get_logger("epbt_optuna.batched")


@dataclass(frozen=True)
class _Outcome:
    """How a batch ended.

    Attributes:
        values: Of each member, if there is no state.
        state: Of all members; None where their values decide.
        failure: Why they failed.
        error: What the run is to end with.
    """

    values: list[float]
    state: TrialState | None = None
    failure: str | None = None
    error: Exception | None = None


class Driver:
    """Drives one run.

    Args:
        study: The study.
        objective: Trains and evaluates a batch.
        queue: Which trials are to be asked.
        left: Numbers of those that go on first, of the generation that is next.
        record: What says in a trial that this call trains it.
        interrupts: Entered; lets Ctrl-C through while others' code runs.
        progress: The bar.
        checkpoints: The store, if there is one.
        device: Where tensors are made.
        max_batch: The most trials in a batch.
        catch: What the objective may raise without ending the run.
        callbacks: Called with the study and each finished trial.
        deadline: When to begin no more batches, by `time.monotonic`.
    """

    def __init__(
        self,
        study: Study,
        objective: Objective,
        queue: TrialQueue,
        left: list[int],
        record: dict[str, Any],
        interrupts: Interrupts,
        progress: Progress,
        *,
        checkpoints: CheckpointStore | None,
        device: torch.device,
        max_batch: float,
        catch: tuple[type[Exception], ...],
        callbacks: Sequence[Callback],
        deadline: float,
    ) -> None:
        self._study = study
        self._objective = objective
        self._queue = queue
        self._left = left
        self._record = record
        self._interrupts = interrupts
        self._progress = progress
        self._checkpoints = checkpoints
        self._device = device
        self._max_batch = max_batch
        self._catch = catch
        self._callbacks = callbacks
        self._deadline = deadline

    def run(self) -> None:
        """Run all batches.

        Raises:
            BaseException: What the objective raised, unless it is caught, or a callback, or what
                the sampler or the storage raises. What is RUNNING then, the next call goes on with.
        """
        while self._goes_on():
            with synchronized_once(self._study):
                trials = self._next_batch()
            self._train(trials)

    def _goes_on(self) -> bool:
        if stop_requested(self._study) or time.monotonic() >= self._deadline:
            return False
        return bool(self._left) or not self._queue.is_done

    def _next_batch(self) -> list[Trial]:
        """Return those that were left, then ask those that are missing of their generation."""
        fail_stale(self._study)
        trials: list[Trial] = []
        while self._left and len(trials) < self._max_batch:
            trials.append(reopen_trial(self._study, self._left.pop(0)))
            self._mark(trials[-1])
        generation = (
            self._queue.generation_of(trials[0].number) if trials else self._queue.next_generation
        )
        while (
            len(trials) < self._max_batch
            and not self._queue.is_done
            and self._queue.next_generation == generation
        ):
            trials.append(self._study.ask())
            self._queue.count()
            # Killed right here, that one trial is nobody's: it stays RUNNING, and the log says so.
            self._mark(trials[-1])
        return trials

    def _mark(self, trial: Trial) -> None:
        DRIVEN.write_to_trial(self._study, trial, {"number": trial.number, **self._record})

    def _train(self, trials: list[Trial]) -> None:
        generation = Generation(trials, checkpoints=self._checkpoints, device=self._device)
        outcome = self._run(generation)
        with synchronized_once(self._study):
            for i, is_alive in enumerate(generation.alive.tolist()):
                if is_alive:
                    self._tell(trials[i], outcome.values[i], outcome.state, outcome.failure)
        if outcome.failure is not None:
            _logger.warning("%s failed: %s", _named(trials), outcome.failure)
        ended = [read_existing(self._study, trial.number) for trial in trials]
        for frozen in ended:
            self._progress.update(frozen, self._queue.generation_of(frozen.number))
        if outcome.error is not None:
            raise outcome.error
        for frozen in ended:
            with self._interrupts.let_through():  # one that came while trials were told, too
                for callback in self._callbacks:
                    callback(self._study, copy.deepcopy(frozen))

    def _run(self, generation: Generation) -> _Outcome:
        """Run the objective; what is no `Exception` passes, and leaves the trials RUNNING."""
        unknown = [math.nan] * len(generation)
        try:
            with self._interrupts.let_through():
                returned = self._objective(generation)
            return _Outcome(numbers("the objective's result", returned, len(generation)))
        except TrialPruned:
            return _Outcome(unknown, TrialState.PRUNED)
        except Exception as error:
            is_caught = isinstance(error, self._catch)
            failure = cut(traceback.format_exc())
            return _Outcome(unknown, TrialState.FAIL, failure, None if is_caught else error)
        except BaseException:  # Ctrl-C, or `sys.exit` by whoever ends the process
            _logger.warning(
                "%s stay RUNNING: the next call of `batched.optimize` goes on with them.",
                _named(generation.trials),
            )
            raise

    def _tell(
        self, trial: Trial, value: float, state: TrialState | None, failure: str | None
    ) -> None:
        if state is None and math.isnan(value):
            state, failure = TrialState.FAIL, "The objective returned NaN for it."
            _logger.warning("Trial %d failed: %s", trial.number, failure)
        if failure is not None:
            note(self._study, trial, ERROR, failure)  # nothing can be written once it is told
        tell(self._study, trial, value if state is None else None, state)


def _named(trials: Sequence[Trial]) -> str:
    return f"Trials {trials[0].number} to {trials[-1].number}"
