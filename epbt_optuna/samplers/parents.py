"""What the hooks of a sampler read of those from whom a trial descends."""

from __future__ import annotations

from optuna import Study
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from epbt_optuna._internal.attrs import LINEAGE
from epbt_optuna._internal.optuna import kept_with, read_existing, read_system_attrs
from epbt_optuna._internal.text import get_logger
from epbt_optuna._internal.warn_once import warn_once
from epbt_optuna.genome import Genome
from epbt_optuna.population import Lineage

__all__ = ["ParentSpace", "parent_space", "read_genome"]

_logger = get_logger("epbt_optuna.samplers")


class ParentSpace(dict[str, BaseDistribution]):
    """The parent's numbers, and with them what `sample_relative` would have to read again.

    Optuna hands to that hook the very object that `infer_relative_search_space` returned.
    Categories are not in it: a database may have made lists of tuples, and what the objective is
    to get are its own. They are taken from the genome when they are suggested.
    """

    def __init__(self, lineage: Lineage, parent: Genome) -> None:
        super().__init__(
            {
                name: distribution
                for name, distribution in parent.distributions.items()
                if isinstance(distribution, (FloatDistribution, IntDistribution))
            }
        )
        self.lineage = lineage
        self.parent = parent


def parent_space(study: Study, trial: FrozenTrial) -> ParentSpace | None:
    """Return the parent's numbers; None for a founder, and for a trial that was not asked."""
    lineage: Lineage | None = kept_with(trial, "lineage")
    if lineage is None:  # another process asked it, or `before_trial` saw another copy of it
        is_there = LINEAGE.key in trial.system_attrs
        attrs = trial.system_attrs if is_there else read_system_attrs(study, trial)
        lineage = Lineage.recorded(trial.number, attrs)
        if lineage is None:
            warn_once(
                _logger,
                study,
                "hooks",
                f"Trial {trial.number} has no lineage, as `before_trial` was not called for it, "
                "and is drawn at random. A sampler around ours must hand on all hooks",
            )
    if lineage is None or lineage.parent is None:
        return None
    return ParentSpace(lineage, read_genome(study, lineage.parent))


def read_genome(study: Study, number: int) -> Genome:
    """Return the genome of a trial."""
    trial = read_existing(study, number)
    return Genome(trial.params, trial.distributions)
