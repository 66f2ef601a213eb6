"""Optuna's hooks for samplers that breed generations.

At ask, `before_trial` selects parent and mate and records them in the trial; at the first
suggest, `sample_relative` breeds the genome from what is recorded. No arithmetic and no
algorithm here: those are `epbt_optuna.population` and `epbt_optuna.evolution`.
"""

from __future__ import annotations

import math
import secrets
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.attrs import LINEAGE
from epbt_optuna._internal.checks import check_integer, check_names, check_one_objective
from epbt_optuna._internal.choosing import choose_in_time
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import (
    keep_with,
    kept_with,
    make_room,
    read_study_attrs,
    take_kept,
)
from epbt_optuna.checkpoints.misuse import warn_of_misuse
from epbt_optuna.evolution import Evolution, Feasible
from epbt_optuna.genome import contains, draw, own_value
from epbt_optuna.population import Generations, Lineage
from epbt_optuna.samplers.breeding import Breeding
from epbt_optuna.samplers.comparing import warn_of_comparing_pruner
from epbt_optuna.samplers.elites import TrainedElites
from epbt_optuna.samplers.excluded import warn_of_excluded
from epbt_optuna.samplers.founders import FounderGenome, Founders, without_stop
from epbt_optuna.samplers.inherited import Inherited
from epbt_optuna.samplers.named import NamedVariables
from epbt_optuna.samplers.parents import parent_space, read_genome
from epbt_optuna.samplers.populations import Populations
from epbt_optuna.samplers.refusal import fail_refused

__all__ = ["GenerationSampler"]

# What a trial's randomness is for: streams that must not repeat one another.
_SELECT, _BREED, _DRAW = range(3)

_NOT_SAMPLED = object()


class GenerationSampler(Populations):
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
        inherited: Collection[str] = (),
    ) -> None:
        super().__init__(generations, evolution)
        if seed is not None:
            check_integer("seed", seed, at_least=0)
        if isinstance(initial_sampler, GenerationSampler):
            raise ValueError(
                "`initial_sampler` must be a sampler that breeds no generations of its own but got "
                f"{type(initial_sampler).__name__}."
            )
        self._founders = Founders(generations, initial_sampler, search_space)
        self._inherited = Inherited(check_names("inherited", inherited))
        named = {"inherited": self._inherited.names, **evolution.named_variables}
        self._elites = TrainedElites(generations)
        self._named = NamedVariables(named, self._founders.search_space)
        self._breeding = Breeding(evolution, self._founders, feasible, self._inherited)
        self._recorded_in: StudyIdentity | None = None
        seed = secrets.randbits(128) if seed is None else int(seed)
        n_words = max(1, math.ceil(seed.bit_length() / 32))
        self._seed_words = [seed >> 32 * i & 0xFFFFFFFF for i in range(n_words)]

    @property
    def settings(self) -> dict[str, Any]:
        """What it was made with, by the argument; the seed too where it was drawn."""
        return {
            **vars(self._generations),
            **vars(self._evolution),
            "feasible": self._breeding.feasible,
            "initial_sampler": self._founders.initial_sampler,
            "search_space": self._founders.search_space or None,
            "inherited": tuple(sorted(self._inherited.names)) or None,
            "seed": sum(word << 32 * i for i, word in enumerate(self._seed_words)),
        }

    # Optuna's hooks, in the order in which a trial meets them

    def reseed_rng(self) -> None:
        """Reseed the initial sampler; here every trial has a random stream of its own already."""
        if self._founders.initial_sampler is not None:
            self._founders.initial_sampler.reseed_rng()

    def check_study(self, study: Study) -> None:
        """Raise what the next ask would, before there is a trial to fail.

        Raises:
            ValueError: The study has several objectives, was begun with other generations, or has
                a record that cannot be read.
        """
        check_one_objective(self, study)
        study_attrs = read_study_attrs(study)
        StudyIdentity.of(study, study_attrs)
        self._generations.record(study, study_attrs, dry_run=True)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Select parent and mate of the trial just asked, and record them in it."""
        try:
            self._choose_parents(study, trial)
        except BaseException as error:
            fail_refused(study, trial, error)
            raise

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the parent's numbers; for a founder those that its initial sampler knows."""
        if (space := parent_space(study, trial)) is not None:
            return space
        return self._founders.relative_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Breed the genome from parent and mate, or draw a founder's, until it is feasible."""
        check_one_objective(self, study)
        # A generator that has bred is used up: who asks again needs one that begins anew.
        rng = take_kept(trial, "rng") or self._rng(trial.number, _BREED)
        genome = self._breeding.genome(self, study, trial, search_space, rng)
        keep_with(trial, genome=genome)
        params = {} if genome is None else genome.params
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
        """Return the genome's value of a variable, or draw one that it lacks.

        Optuna asks here for what it did not take from `sample_relative`: categories, founders'
        variables, and values that it takes to be off the grid. A genome lacks what no parent has:
        a founder's variables, or those of a space that has changed.
        """
        check_one_objective(self, study)
        if (genome := kept_with(trial, "genome", _NOT_SAMPLED)) is _NOT_SAMPLED:
            self.sample_relative(study, trial, {})  # a sampler around ours uses other objects
            genome = kept_with(trial, "genome")
        if genome is not None and param_name in genome.params:
            value = genome.params[param_name]
            if isinstance(genome, FounderGenome):
                self._founders.compare(study, trial, param_name, param_distribution, value)
            if contains(param_distribution, value):
                return own_value(param_distribution, value)
            if not isinstance(genome, FounderGenome):
                if param_name in self._inherited.names:
                    return self._inherited.outside(trial, genome, param_name, param_distribution)
                warn_of_excluded(study, trial, param_name, param_distribution, value)
        initial_sampler = self._founders.sampler_for(trial)
        if initial_sampler is None:
            return self._draw(trial, param_name, param_distribution)
        study = without_stop(study)
        return initial_sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Pass a founder's result on to the initial sampler, and look what the trial has saved."""
        warn_of_misuse(study, trial, state)
        warn_of_comparing_pruner(study, trial, state)
        self._named.warn(trial, state)
        self._founders.after_trial(study, trial, state, values)

    # What the hooks are made of

    def _choose_parents(self, study: Study, trial: FrozenTrial) -> None:
        check_one_objective(self, study)
        study_attrs = read_study_attrs(study)
        identity = StudyIdentity.drawn(study, trial.number, study_attrs)
        # The same object where no attr of the study has changed. Two threads may both record here,
        # and then write the same.
        if identity is not self._recorded_in:
            self._generations.record(study, study_attrs)
            self._recorded_in = identity
        generation = self._generations.of(trial.number)
        if (initial_sampler := self._founders.sampler_for(trial)) is not None:
            initial_sampler.before_trial(without_stop(study), trial)
        self._founders.warn_of_unused(study, trial)
        lineage = Lineage(trial.number, generation)
        retried = Lineage.readable(trial.number, trial.system_attrs, identity)
        if retried is not None:  # Optuna copied the record of the trial that this one runs again
            lineage = replace(retried, generation=generation)
        else:
            lineage = choose_in_time(partial(self._select, study, trial, identity, lineage))
        LINEAGE.write_to_trial(study, trial, lineage.record(identity.token))
        make_room(trial)
        # Just behind the one for selection: later, NumPy's code is out of the processor's caches,
        # and a generator takes twice as long.
        keep_with(trial, lineage=lineage, rng=self._rng(trial.number, _BREED))

    def _select(
        self, study: Study, trial: FrozenTrial, identity: StudyIdentity, founder: Lineage
    ) -> Lineage:
        """Return the lineage with parent and mate selected.

        It is a founder's where nobody may breed, and where the trial is fixed to inherit nothing.
        """
        number, generation = founder.number, founder.generation
        population = self._history(study, identity).parents(study, generation)
        if not population:
            return founder
        rng = self._rng(number, _SELECT)
        lineage = self._elites.continued(study, trial, identity, founder, population)
        lineage = lineage or self._evolution.select(number, generation, population, rng)
        if lineage.parent is None or not any(self._named.settings.values()):
            return lineage
        parent = read_genome(study, lineage.parent)
        self._named.check(study, number, parent)
        return founder if self._inherited.makes_founder(study, trial, parent) else lineage

    def _draw(self, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        """Draw one variable from a stream of its own: the order of suggestions is the user's."""
        return draw(
            distribution,
            self._rng(trial.number, _DRAW, zlib.crc32(name.encode(errors="surrogatepass"))),
        )

    def _rng(self, *key: int) -> np.random.Generator:
        """Return `np.random.default_rng([seed, *key])`, for which NumPy takes a third longer."""
        words = np.array([*self._seed_words, *key], np.uint32)
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))
