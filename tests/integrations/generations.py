"""Parents and children for the tests of the integrations."""

from __future__ import annotations

from collections.abc import Iterable

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.trial import TrialState

from epbt_optuna import EPBTSampler

__all__ = ["AtOnce", "family"]


class AtOnce(BasePruner):
    """Prunes whoever asks."""

    def prune(self, *_: object) -> bool:
        return True


def family(
    *params: dict[str, float], pruner: BasePruner | None = None
) -> Iterable[tuple[optuna.Study, optuna.Trial]]:
    """Yield a study's running trials one after another, each the only child of the one before.

    Each is told as the fittest so far, if the caller has not ended it.

    Args:
        *params: The hyperparameters of each.
        pruner: The study's. Default: none is pruned.
    """
    sampler = EPBTSampler(2, n_elites=1, seed=0)
    study = optuna.create_study(sampler=sampler, direction="maximize", pruner=pruner or NopPruner())
    for generation, own in enumerate(params):
        study.enqueue_trial(own)
        trial = study.ask()
        yield study, trial
        study.tell(trial, float(generation), skip_if_finished=True)
        if generation == 0:
            study.tell(study.ask(), state=TrialState.FAIL)
