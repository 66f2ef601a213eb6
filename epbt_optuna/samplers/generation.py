"""Optuna's hooks for samplers that breed generations.

At ask, `before_trial` selects parent and mate and records them in the trial; at the first
suggest, `sample_relative` breeds the genome from what is recorded. No arithmetic and no
algorithm here: those are `epbt_optuna.population` and `epbt_optuna.evolution`.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseGASampler, BaseSampler
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.attrs import LINEAGE
from epbt_optuna._internal.checks import check_integer, check_one_objective
from epbt_optuna._internal.choosing import choose_in_time
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import fixed_params, read_study_attrs
from epbt_optuna._internal.per_study import PerStudy
from epbt_optuna.evolution import Evolution, Feasible, first_feasible
from epbt_optuna.genome import Genome, draw
from epbt_optuna.population import Generations, Lineage, Population, PopulationHistory
from epbt_optuna.samplers.parents import (
    ParentSpace,
    parent_space,
    read_existing,
    read_genome,
    retried_lineage,
)

__all__ = ["GenerationSampler"]

# What a trial's randomness is for: streams that must not repeat one another.
_SELECT, _BREED, _DRAW = range(3)


class GenerationSampler(BaseGASampler):
    """The hooks that both samplers share; `Evolution` is where they differ.

    All randomness of trial n comes from generators seeded by (seed, n, purpose), so the sampler
    holds no state of its own: it pickles, and threads and processes never share a stream.
    """

    def __init__(
        self,
        generations: Generations,
        evolution: Evolution,
        *,
        feasible: Feasible | None,
        initial_sampler: BaseSampler | None,
        search_space: Mapping[str, BaseDistribution] | None,
        seed: int | None,
    ) -> None:
        super().__init__(generations.population_size)
        if seed is not None:
            check_integer("seed", seed, at_least=0)
        self._generations = generations
        self._evolution = evolution
        self._feasible = feasible
        self._initial_sampler = initial_sampler
        self._search_space = dict(search_space or {})
        self._seed = secrets.randbits(128) if seed is None else int(seed)
        self._history = PerStudy(self._make_history)

    # Generations

    @property
    def population_size(self) -> int:
        """Individuals in a population, p; fixed, as generations are counted by it."""
        return self._generations.population_size

    @population_size.setter
    def population_size(self, value: int) -> None:
        raise AttributeError(f"`population_size` is fixed but was to be set to {value}.")

    @property
    def n_elites(self) -> int:
        """Individuals that survive a generation, k."""
        return self._generations.n_elites

    def n_trials(self, n_generations: int) -> int:
        """Return how many trials a run has.

        Args:
            n_generations: Generations to run, counting generation 0, as the paper does: its 25
                generations of 40 with 20 elites are 40 + 24·20 = 520 trials.

        Returns:
            The total, to be passed to `study.optimize(..., n_trials=...)`.

        Raises:
            TypeError: `n_generations` is not an integer.
            ValueError: `n_generations` is below 1.
        """
        check_integer("n_generations", n_generations, at_least=1)
        return self._generations.n_trials(n_generations)

    def generation_of(self, number: int) -> int:
        """Return the generation of the trial with this number."""
        check_integer("number", number, at_least=0)
        return self._generations.of(number)

    def trial_numbers(self, generation: int) -> range:
        """Return the numbers of a generation's trials, in order."""
        check_integer("generation", generation, at_least=0)
        return self._generations.numbers(generation)

    def get_trial_generation(self, study: Study, trial: FrozenTrial) -> int:  # noqa: ARG002
        """Return the generation of a trial, which its number decides."""
        return self._generations.of(trial.number)

    def get_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        """Return the trials alive after `generation`, M_g, the fittest first.

        While trials of the generation still run, these are the ones alive so far.
        """
        return [read_existing(study, i.number) for i in self.get_individuals(study, generation)]

    def get_individuals(self, study: Study, generation: int) -> Population:
        """Return M_g as selection sees it, without reading the trials again; else as above."""
        return self._history(study).population(study, generation)

    def get_parent_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        """Return the trials that `generation` breeds from, M_(g−1), the fittest first."""
        return self.get_population(study, generation - 1)

    def expected_offspring(self, population_size: int | None = None) -> list[float]:
        """Return what each rank of a population leaves in the next one, the fittest first.

        The number of offspring that an individual of this rank can expect to be the parent of,
        and itself where it survives as an elite. The mean over a whole population is 1.

        Args:
            population_size: How many are alive. Default: the whole population, p.

        Raises:
            TypeError: A selection of the user's own does not say its odds.
        """
        p, k = self.population_size, self.n_elites
        size = p if population_size is None else population_size
        offspring = self._evolution.expected_offspring(size, p - k)
        return [n + (rank <= k) for rank, n in enumerate(offspring, start=1)]

    def select_parent(self, study: Study, generation: int) -> list[FrozenTrial]:
        """Return the parent population, as `optuna.samplers.BaseGASampler` asks for it."""
        return self.get_parent_population(study, generation)

    # Optuna's hooks, in the order in which a trial meets them

    def reseed_rng(self) -> None:
        """Reseed the initial sampler; here every trial has a random stream of its own already."""
        if self._initial_sampler is not None:
            self._initial_sampler.reseed_rng()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Select parent and mate of the trial just asked, and record them in it."""
        check_one_objective(self, study)
        study_attrs = read_study_attrs(study)
        identity = StudyIdentity.drawn(study, trial.number, study_attrs)
        self._generations.record(study, study_attrs)
        generation = self._generations.of(trial.number)
        if generation == 0 and self._initial_sampler is not None:
            self._initial_sampler.before_trial(study, trial)
        lineage = Lineage(trial.number, generation)
        if (retried := retried_lineage(trial, identity)) is not None:
            lineage = replace(lineage, parent=retried.parent, mate=retried.mate)
        else:
            lineage = choose_in_time(partial(self._select, study, identity, lineage))
        LINEAGE.write_to_trial(study, trial, lineage.record(identity.token))

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the parent's variables; for a founder those known before it is drawn."""
        if (space := parent_space(study, trial)) is not None:
            return space
        initial_sampler = self._initial_sampler_for(trial)
        if self._search_space or initial_sampler is None:
            return dict(self._search_space)
        return initial_sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Breed the genome from parent and mate, or draw a founder's, until it is feasible."""
        check_one_objective(self, study)
        if not search_space:
            return {}
        rng = self._rng(trial.number, _BREED)
        is_parents = isinstance(search_space, ParentSpace)
        space = search_space if is_parents else parent_space(study, trial)
        if isinstance(space, ParentSpace):
            lineage, parent = space.lineage, space.parent
            mate = None if lineage.mate is None else read_genome(study, lineage.mate)
            breed = partial(self._evolution.breed, lineage, parent, mate, rng)
        else:
            breed = partial(self._draw_founder, study, trial, search_space, rng)
        params = first_feasible(breed, self._feasible, fixed_params(trial)).params
        return {
            name: params[name] if name in params else self._draw(trial, name, distribution)
            for name, distribution in search_space.items()
        }

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw a variable that no parent has: a founder's, or one of a space that has changed."""
        check_one_objective(self, study)
        initial_sampler = self._initial_sampler_for(trial)
        if initial_sampler is None:
            return self._draw(trial, param_name, param_distribution)
        return initial_sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Pass a founder's result on to the initial sampler."""
        initial_sampler = self._initial_sampler_for(trial)
        if initial_sampler is not None:
            initial_sampler.after_trial(study, trial, state, values)

    # What the hooks are made of

    def _select(self, study: Study, identity: StudyIdentity, founder: Lineage) -> Lineage:
        """Return the lineage with parent and mate selected; a founder's where nobody may breed."""
        number, generation = founder.number, founder.generation
        population = self._history(study, identity).parents(study, generation)
        if not population:
            return founder
        return self._evolution.select(number, generation, population, self._rng(number, _SELECT))

    def _draw_founder(
        self,
        study: Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
        rng: np.random.Generator,
    ) -> Genome:
        initial_sampler = self._initial_sampler_for(trial)
        if initial_sampler is None:
            return Genome(
                {name: draw(search_space[name], rng) for name in sorted(search_space)}, search_space
            )
        params = initial_sampler.sample_relative(study, trial, search_space)
        latest = read_existing(study, trial.number)  # shows what the hooks above have written
        for name, distribution in search_space.items():
            if name not in params:
                params[name] = initial_sampler.sample_independent(study, latest, name, distribution)
        return Genome(params, search_space)

    def _draw(self, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        """Draw one variable from a stream of its own: the order of suggestions is the user's."""
        return draw(distribution, self._rng(trial.number, _DRAW, zlib.crc32(name.encode())))

    def _initial_sampler_for(self, trial: FrozenTrial) -> BaseSampler | None:
        return self._initial_sampler if self._generations.of(trial.number) == 0 else None

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, *key])

    def _make_history(self, _: Study) -> PopulationHistory:
        return PopulationHistory(self._generations)
