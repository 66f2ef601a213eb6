"""The genome of a trial, as far as it can be known before the objective suggests anything."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from epbt_optuna._internal.checks import check_callable
from epbt_optuna._internal.optuna import fixed_params, keep_with, make_room
from epbt_optuna.evolution import Evolution, Feasible, first_feasible
from epbt_optuna.genome import Genome
from epbt_optuna.samplers.founders import Founders
from epbt_optuna.samplers.parents import ParentSpace, parent_space, read_genome

__all__ = ["Breeding"]


@dataclass(frozen=True)
class Breeding:
    """Offspring are bred, founders drawn, both until they are feasible.

    Attributes:
        evolution: Breeds offspring.
        founders: Draws founders.
        feasible: A predicate on params, or None.

    Raises:
        TypeError: `feasible` cannot be called with params.
    """

    evolution: Evolution
    founders: Founders
    feasible: Feasible | None

    def __post_init__(self) -> None:
        if self.feasible is not None:
            check_callable("feasible", self.feasible, "params")

    def genome(
        self,
        sampler: BaseSampler,
        study: Study,
        trial: FrozenTrial,
        offered: Mapping[str, BaseDistribution],
        rng: np.random.Generator,
    ) -> Genome | None:
        """Return the trial's genome; None for a founder of whose variables nothing is known.

        Args:
            sampler: The sampler that breeds.
            study: The study; its sampler may be another one, around that.
            trial: The trial.
            offered: The variables that Optuna takes without asking for each.
            rng: The source of all randomness.
        """
        space = offered if isinstance(offered, ParentSpace) else parent_space(study, trial)
        feasible = self.feasible
        breed: Callable[[], Genome]
        distributions: Mapping[str, BaseDistribution]
        if space is None:
            distributions = {**self.founders.search_space, **offered}
            breed = partial(self.founders.draw, study, trial, distributions, rng)
        else:
            lineage, parent = space.lineage, space.parent
            distributions = parent.distributions
            mate = None if lineage.mate is None else read_genome(study, lineage.mate)
            breed = partial(self.evolution.breed, lineage, parent, mate, rng)
            if not self.evolution.varies(lineage):
                feasible = None  # it goes on as it is, whatever anybody says of it
        if not distributions:
            return None
        fixed = fixed_params(study, trial)
        if feasible is not None and study.sampler is not sampler:
            feasible = partial(
                _is_feasible_as_wrapped, feasible, study, trial, distributions, {*offered, *fixed}
            )
        return first_feasible(breed, feasible, fixed)


def _is_feasible_as_wrapped(
    feasible: Feasible,
    study: Study,
    trial: FrozenTrial,
    distributions: Mapping[str, BaseDistribution],
    settled: Collection[str],
    params: Mapping[str, Any],
) -> bool:
    """Return whether the params are feasible that the sampler around ours will suggest.

    It may fix variables. Optuna will ask it for all that are not settled, so it is asked now: it
    returns what it fixes, and for the rest what ours has bred.
    """
    bred = copy.copy(trial)
    make_room(bred)  # of its own
    keep_with(bred, Genome({name: params[name] for name in distributions}, distributions))
    wrapped = {
        name: study.sampler.sample_independent(study, bred, name, distribution)
        for name, distribution in distributions.items()
        if name not in settled and not distribution.single()
    }
    return feasible({**params, **wrapped})
