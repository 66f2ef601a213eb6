"""What a worker does with one trial, the same in every engine: as `Study.optimize` would."""

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
from epbt_optuna._internal.optuna import (
    ask_again,
    heartbeat,
    optimizing,
    stop_requested,
    tell,
)
from epbt_optuna.parallel.devices import occupied

__all__ = ["Objective", "Outcome", "Work", "note"]

Objective: TypeAlias = Callable[[Trial], Any]


@dataclass(frozen=True)
class Outcome:
    """How a trial ended, as far as the storage does not say.

    Attributes:
        failure: Why it failed, in words; None if it did not.
        error: What its objective raised and nobody catches: the run is to end with it.
        stopped: Whether its objective called `study.stop()`.
    """

    failure: str | None = None
    error: BaseException | None = None
    stopped: bool = False


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

    def run(self, trial_id: int) -> Outcome:
        """Run a trial that the driver has asked, and tell it; never raises an `Exception`."""
        try:
            with optimizing(self.study):
                return replace(self._run(trial_id), stopped=stop_requested(self.study))
        except Exception as error:  # of the storage or the sampler: `catch` is for objectives
            return Outcome(failure=traceback.format_exc(), error=error)

    def _run(self, trial_id: int) -> Outcome:
        value, state, outcome = None, None, Outcome()
        with heartbeat(self.study, trial_id):
            trial = ask_again(self.study, trial_id)
            if occupied() != "cpu":
                note(self.study, trial, DEVICE, occupied())
            try:
                value = self.objective(trial)
            except TrialPruned:
                state = TrialState.PRUNED
            except UpdateFinishedTrialError:  # as stale, say: nobody else is to suffer for it
                state = TrialState.FAIL
                if not trial.storage.get_trial(trial_id).state.is_finished():
                    raise
            except KeyboardInterrupt as error:
                state = TrialState.FAIL
                outcome = Outcome(failure="It was interrupted.", error=error)
            except BaseException as error:
                state = TrialState.FAIL
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
