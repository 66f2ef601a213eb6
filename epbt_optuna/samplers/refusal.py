"""What becomes of a trial that a sampler refuses at ask."""

from __future__ import annotations

from contextlib import suppress

from optuna import Study
from optuna.trial import FrozenTrial

from epbt_optuna._internal.attrs import ERROR
from epbt_optuna._internal.optuna import fail

__all__ = ["fail_refused"]


def fail_refused(study: Study, trial: FrozenTrial, error: BaseException) -> None:
    """Fail a trial that `before_trial` raised for, with the reason.

    `study.ask` has made it by then and returns it to nobody, so nobody else could tell it. Where
    the storage is gone it cannot be failed either: what was raised first says more.
    """
    with suppress(Exception):
        ERROR.write_to_trial(study, trial, f"{type(error).__name__}: {error}")
        fail(study, trial)
