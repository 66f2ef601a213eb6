"""Lineage: who descends from whom, read back from a study."""

from __future__ import annotations

from optuna import Study
from optuna.trial import FrozenTrial

from epbt_optuna._optuna import read_trial
from epbt_optuna.population import Lineage

__all__ = ["ancestry"]


def ancestry(study: Study, trial: FrozenTrial | None = None) -> list[FrozenTrial]:
    """Return the chain of weights from a founder to `trial`, both included.

    The hyperparameters along it are the schedule under which the trial's weights were trained.
    Elites appear once: they are not trained again (section 5 of the paper).

    Args:
        study: The study.
        trial: One of its trials. Default: the best trial.

    Returns:
        The trials, the founder first.

    Raises:
        ValueError: The study has no COMPLETE trial, or a recorded parent does not exist.
    """
    trial = study.best_trial if trial is None else trial
    chain = [trial]
    while lineage := Lineage.recorded(chain[-1].number, chain[-1].system_attrs):
        if lineage.parent is None:
            break
        parent = read_trial(study, lineage.parent)
        if parent is None:
            raise ValueError(
                f"Trial {lineage.parent}, the parent of trial {chain[-1].number}, does not exist "
                f"in study {study.study_name!r}."
            )
        chain.append(parent)
    return chain[::-1]
