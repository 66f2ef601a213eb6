"""Which kind of trial an objective was given: a live one, or one to run the objective again with.

Optuna runs objectives again with `study.best_trial` or a `FixedTrial`, whose `report` does nothing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias, TypeGuard

from optuna import Trial
from optuna.trial import FixedTrial, FrozenTrial

from epbt_optuna._internal.text import get_logger

__all__ = ["AnyTrial", "can_save", "is_live", "require_of_study"]

AnyTrial: TypeAlias = Trial | FrozenTrial | FixedTrial
"""What objectives may be run with."""

_logger = get_logger("epbt_optuna.checkpoints")


def is_live(trial: Any) -> TypeGuard[Trial]:
    """Return whether a trial is live; else it is one that an objective may be run again with.

    Raises:
        TypeError: It is neither; the message says what to pass.
    """
    if isinstance(trial, Trial):
        return True
    is_ended = isinstance(trial, FrozenTrial) and trial.state.is_finished()
    if is_ended or isinstance(trial, FixedTrial):
        return False
    raise TypeError(f"`trial` must be the live trial of an objective but got a {_named(trial)}.")


def can_save(trial: Any) -> TypeGuard[Trial]:
    """Return whether anything can be saved for a trial; where not, say so, as nothing else will.

    Raises:
        TypeError: As for `is_live`.
    """
    if is_live(trial):
        return True
    _say_that_nothing_is_saved(type(trial).__name__, trial.number)
    return False


def require_of_study(trial: Any) -> None:
    """Raise a TypeError unless a trial is one of a study, live or not."""
    if not isinstance(trial, (Trial, FrozenTrial)):
        raise TypeError(
            f"`trial` must be a trial of a study, such as `study.best_trial`, but got a "
            f"{_named(trial)}."
        )


def _named(trial: Any) -> str:
    """Return what an object is, and, if it is some kind of trial, what to pass in its place."""
    kind = type(trial).__name__
    if isinstance(trial, FrozenTrial):
        return f"{kind} that is {trial.state.name}: `epbt_optuna.reopen` makes a live one of it"
    if kind == "TorchDistributedTrial":
        return (
            f"{kind}: pass the trial that it was made of, on rank 0, and broadcast the result to "
            "the other ranks"
        )
    return kind


@lru_cache(maxsize=128)  # who runs an objective again and again need not read it as often
def _say_that_nothing_is_saved(kind: str, number: int) -> None:
    _logger.warning("Nothing is saved for trial %d: it is a %s, not a live trial.", number, kind)
