"""Values that were bred, and that the objective's range excludes: a study is told once."""

from __future__ import annotations

from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from epbt_optuna._internal.text import get_logger
from epbt_optuna._internal.warn_once import warn_once

__all__ = ["warn_of_excluded"]

_logger = get_logger("epbt_optuna.samplers")


def warn_of_excluded(
    study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution, value: Any
) -> None:
    """Warn that an offspring's variable is drawn anew, also where an elite should go on with it.

    The objective has changed its range, or lets it depend on the trial, or a parent was enqueued
    outside of it. What a population had found out about that variable is lost with the value.
    """
    warn_once(
        _logger,
        study,
        "excluded",
        f"Trial {trial.number} has {name}={value!r} from its parents, which the objective's "
        f"{distribution} excludes, so it is drawn anew",
    )
