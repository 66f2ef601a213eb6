"""The genome of a trial, as far as it can be known before the objective suggests anything."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from epbt_optuna._internal.checks import check_callable
from epbt_optuna._internal.optuna import fixed_params, make_room
from epbt_optuna.evolution import Evolution, Feasible, first_feasible
from epbt_optuna.genome import Genome
from epbt_optuna.population import Lineage
from epbt_optuna.samplers.founders import Founders
from epbt_optuna.samplers.inherited import Inherited
from epbt_optuna.samplers.parents import ParentSpace, parent_space, read_genome

__all__ = ["Breeding"]

# The genome that a sampler around ours is being asked about. It asks ours in turn, maybe with an
# object of the trial that it has read itself, with which no genome is kept.
_bred: ContextVar[Genome | None] = ContextVar("_bred", default=None)


@dataclass(frozen=True)
class Breeding:
    """Offspring are bred, founders drawn, both until they are feasible.

    Attributes:
        evolution: Breeds offspring.
        founders: Draws founders.
        feasible: A predicate on params, or None.
        inherited: What offspring have from their parents, whatever operators make of it.

    Raises:
        TypeError: `feasible` cannot be called with params.
    """

    evolution: Evolution
    founders: Founders
    feasible: Feasible | None
    inherited: Inherited

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
        if (bred := _bred.get()) is not None:
            return bred
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
            breed = partial(self._breed, lineage, parent, mate, rng)
            if not self.evolution.varies(lineage):
                feasible = None  # it goes on as it is, whatever anybody says of it
        if not distributions:
            return None
        is_wrapped = study.sampler is not sampler
        if feasible is None and not is_wrapped:  # then nobody asks what is fixed
            return breed()
        fixed = fixed_params(study, trial)
        settled = {*offered, *fixed}
        if feasible is not None and is_wrapped:
            feasible = partial(
                _is_feasible_as_wrapped, feasible, study, trial, distributions, settled
            )
        genome = first_feasible(breed, feasible, fixed)
        if is_wrapped and space is not None:
            names = self.inherited.names & distributions.keys() - settled
            wrapped = _as_wrapped(study, trial, distributions, names, genome.params)
            self.inherited.check_wrapped(study, trial, genome, wrapped)
        return genome

    def _breed(
        self, lineage: Lineage, parent: Genome, mate: Genome | None, rng: np.random.Generator
    ) -> Genome:
        offspring = self.evolution.breed(lineage, parent, mate, rng)
        return self.inherited.keep(parent, offspring)


def _is_feasible_as_wrapped(
    feasible: Feasible,
    study: Study,
    trial: FrozenTrial,
    distributions: Mapping[str, BaseDistribution],
    settled: Collection[str],
    params: Mapping[str, Any],
) -> bool:
    """Return whether the params are feasible that the sampler around ours will suggest."""
    names = distributions.keys() - settled
    return feasible({**params, **_as_wrapped(study, trial, distributions, names, params)})


def _as_wrapped(
    study: Study,
    trial: FrozenTrial,
    distributions: Mapping[str, BaseDistribution],
    names: Collection[str],
    params: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what the sampler around ours will suggest for these variables.

    It may fix some. Optuna will ask it for all that are not settled, so it is asked now: it returns
    what it fixes, and for the rest what ours has bred.
    """
    asked = copy.copy(trial)
    make_room(asked)  # of its own
    bred = _bred.set(Genome({name: params[name] for name in distributions}, distributions))
    try:
        return {
            name: study.sampler.sample_independent(study, asked, name, distributions[name])
            for name in distributions
            if name in names and not distributions[name].single()
        }
    finally:
        _bred.reset(bred)
