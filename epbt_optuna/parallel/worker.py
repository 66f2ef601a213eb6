"""What a worker does with one trial, the same in every engine: as `Study.optimize` would.

A trial has one worker at a time, which alone writes to it. Two things may happen meanwhile. Others
may finish the trial (a heartbeat that stopped, a user, a driver after the second Ctrl-C): what is
written after that is refused by the storage and dropped here. And the worker may die at any point:
then the trial is RUNNING, or it is told; the driver reads which, and fails the first kind.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from optuna import Study, Trial, TrialPruned
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.attrs import DEVICE, ERROR, Attr
from epbt_optuna._internal.optuna import trial_id_of
from epbt_optuna._internal.optuna_loop import (
    ask_again,
    heartbeat,
    optimizing,
    see_new_trials,
    stop_requested,
    tell,
)
from epbt_optuna._internal.text import cut
from epbt_optuna.parallel.devices import current_device_name

__all__ = ["Objective", "Outcome", "Work", "note"]

Objective: TypeAlias = Callable[[Trial], Any]


@dataclass(frozen=True)
class Outcome:
    """How a trial ended, as far as the storage does not say.

    Attributes:
        failure: Why it failed, in words; None if it did not.
        error: What its objective raised and nobody catches: the run is to end with it.
        left: Whether its objective wanted to end the worker, by `sys.exit` or a KeyboardInterrupt.
        stopped: Whether its objective called `study.stop()`.
    """

    failure: str | None = None
    error: BaseException | None = None
    left: bool = False
    stopped: bool = False

    def __post_init__(self) -> None:
        if self.failure is not None:  # it is stored in the trial, logged, and sent to the driver
            object.__setattr__(self, "failure", cut(self.failure))


@dataclass(frozen=True)
class Work:
    """What the workers of one run have in common.

    Attributes:
        study: The study; a worker in another process has a copy that shares its storage.
        objective: Called with the live trial.
        catch: What it may raise without ending the run.
    """

    study: Study
    objective: Objective
    catch: tuple[type[Exception], ...]

    def run(self, asked: Trial | int) -> Outcome:
        """Run a trial that the driver has asked, and tell it; never raises an `Exception`.

        Args:
            asked: The trial, or its id in the storage where the driver is another process.
        """
        try:
            with optimizing(self.study):
                see_new_trials(self.study)
                trial = ask_again(self.study, asked) if isinstance(asked, int) else asked
                return replace(self._run(trial), stopped=stop_requested(self.study))
        except Exception as error:  # of the storage or the sampler: `catch` is for objectives
            return Outcome(failure=traceback.format_exc(), error=error)

    def _run(self, trial: Trial) -> Outcome:
        value, state, outcome = None, None, Outcome()
        trial_id = trial_id_of(trial)
        with heartbeat(self.study, trial_id):
            if current_device_name() != "cpu":
                note(self.study, trial, DEVICE, current_device_name())
            try:
                value = self.objective(trial)
            except TrialPruned:
                state = TrialState.PRUNED
            except KeyboardInterrupt:  # not the driver's own, which alone ends the run
                state = TrialState.FAIL
                outcome = Outcome("It was interrupted.", left=True)
            except SystemExit as error:  # is left to the driver, as if the worker had died
                failure = f"Its objective raised {error!r}."
                note(self.study, trial, ERROR, failure)
                return Outcome(failure, left=True)
            except BaseException as error:
                state = TrialState.FAIL
                # What was finished from outside, as stale, say, cannot report or save any more;
                # nobody else is to suffer for that.
                if not trial.storage.get_trial(trial_id).state.is_finished():
                    caught = isinstance(error, self.catch)
                    outcome = Outcome(traceback.format_exc(), None if caught else error)
            if outcome.failure is not None:
                note(self.study, trial, ERROR, outcome.failure)
        refusal = tell(self.study, trial, value, state)
        return outcome if refusal is None else Outcome(failure=refusal)


def note(study: Study, trial: Trial | FrozenTrial, attr: Attr, text: str) -> None:
    """Note something about a running trial in it, for trackers to show."""
    with suppress(UpdateFinishedTrialError):
        attr.write_to_trial(study, trial, text)
