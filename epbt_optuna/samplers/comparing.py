"""Pruners of Optuna's that compare trials whose weights differ in age: a study is told once."""

from __future__ import annotations

from optuna import Study
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    WilcoxonPruner,
)
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.text import get_logger
from epbt_optuna._internal.warn_once import warn_once

__all__ = ["warn_of_comparing_pruner"]

_logger = get_logger("epbt_optuna.samplers")

# All compare what trials have reported at the same step. The median's is one of percentiles.
_COMPARING = (PercentilePruner, SuccessiveHalvingPruner, HyperbandPruner, WilcoxonPruner)


def warn_of_comparing_pruner(study: Study, trial: FrozenTrial, state: TrialState) -> None:
    """Warn if a trial ends pruned in a study with such a pruner, as Optuna's default is.

    Nothing is said before: where an objective never asks `should_prune`, the pruner is of no
    account.
    """
    if state != TrialState.PRUNED or not _compares(study.pruner):
        return
    if not trial.intermediate_values:  # nothing to compare: the objective has pruned it by itself
        return
    warn_once(
        _logger,
        study,
        "pruner",
        f"Trial {trial.number} was pruned. {type(study.pruner).__name__}, the study's pruner, "
        "compares trials at the same step, whatever the age of their weights. Create the study "
        "with `pruner=EPBTPruner()`, or with `pruner=optuna.pruners.NopPruner()` to prune nobody",
    )


def _compares(pruner: BasePruner) -> bool:
    """Return whether it is one of these, or has one inside, as `PatientPruner` has."""
    inner = (value for value in vars(pruner).values() if isinstance(value, BasePruner))
    return isinstance(pruner, _COMPARING) or any(map(_compares, inner))
