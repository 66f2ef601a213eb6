"""How generation 0 is drawn: by an initial sampler, in a search space, or as it is suggested."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.optuna import constraints_of, read_trial
from epbt_optuna._internal.per_study import PerStudy
from epbt_optuna._internal.text import get_logger
from epbt_optuna._internal.warn_once import warn_once
from epbt_optuna.genome import Genome, contains, draw
from epbt_optuna.population import Generations

__all__ = ["FounderGenome", "Founders", "check_space", "without_stop"]

_logger = get_logger("epbt_optuna.samplers")


class FounderGenome(Genome):
    """A genome that was drawn, and not bred."""


class Founders:
    """The initial sampler and the search space, as far as the user has given them.

    Args:
        generations: Say which trials are of generation 0.
        initial_sampler: Draws founders in place of uniform draws.
        search_space: Variables that are known before the objective suggests them.

    Raises:
        TypeError: One is of the wrong type.
    """

    def __init__(
        self,
        generations: Generations,
        initial_sampler: BaseSampler | None,
        search_space: Mapping[str, BaseDistribution] | None,
    ) -> None:
        _check_sampler(initial_sampler)
        check_space("search_space", search_space)
        self._generations = generations
        self.initial_sampler = initial_sampler
        self.search_space = dict(search_space or {})
        self._warned = PerStudy(_nothing)

    def sampler_for(self, trial: FrozenTrial) -> BaseSampler | None:
        """Return the initial sampler, if there is one and the trial is of generation 0.

        Later founders, of whom there is one where nobody can be a parent, are drawn uniformly.
        """
        return self.initial_sampler if self._generations.of(trial.number) == 0 else None

    def relative_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return what Optuna may take from `sample_relative` unseen.

        That is nothing of a search space of the user's. Its variables are drawn together, too, but
        each is compared with what the objective suggests before it is used.
        """
        sampler = self.sampler_for(trial)
        if self.search_space or sampler is None:
            return {}
        return sampler.infer_relative_search_space(without_stop(study), trial)

    def draw(
        self,
        study: Study,
        trial: FrozenTrial,
        space: Mapping[str, BaseDistribution],
        rng: np.random.Generator,
    ) -> FounderGenome:
        """Draw all variables of a space at once."""
        sampler = self.sampler_for(trial)
        if sampler is None:
            return FounderGenome({name: draw(space[name], rng) for name in sorted(space)}, space)
        study = without_stop(study)
        params = sampler.sample_relative(study, trial, dict(space))
        latest = read_trial(study, trial.number) or trial  # shows what hooks have written since
        for name, distribution in space.items():
            if name not in params:
                params[name] = sampler.sample_independent(study, latest, name, distribution)
        return FounderGenome(params, space)

    def compare(
        self,
        study: Study,
        trial: FrozenTrial,
        name: str,
        distribution: BaseDistribution,
        value: Any,
    ) -> None:
        """Compare a variable of the search space with what the objective suggests.

        Raises:
            ValueError: The value drawn for this founder is outside of the objective's.
        """
        own = self.search_space.get(name)
        if own is None:  # a variable of the initial sampler's
            return
        if not contains(distribution, value):
            raise ValueError(
                f"`search_space` has {name!r} in {own}, from which founder {trial.number} got "
                f"{value!r}, but the objective suggests it from {distribution}, which excludes "
                "that. Give both the same distribution."
            )
        if not _is_same(own, distribution):
            self._warn(
                study,
                f"`search_space` has {name!r} in {own}, but the objective suggests it from "
                f"{distribution}: founders are drawn from the first.",
            )

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Pass a founder's result on to the initial sampler, and look whether that constrains it.

        Offspring are not shown to it, and who has no constraints is feasible.
        """
        sampler = self.sampler_for(trial)
        if sampler is None:
            return
        sampler.after_trial(without_stop(study), trial, state, values)
        latest = read_trial(study, trial.number)
        if latest is not None and constraints_of(latest) and not constraints_of(trial):
            warn_once(
                _logger,
                study,
                "constraints",
                f"`initial_sampler` has set constraints of founder {trial.number}, but will set "
                "none of offspring, which count as feasible then. Set them in the objective",
            )

    def warn_of_unused(self, study: Study, trial: FrozenTrial) -> None:
        """At the first trial after generation 0, warn of variables that nobody has suggested."""
        founders = self._generations.numbers(0)
        if not self.search_space or trial.number != founders.stop:
            return
        trials = [read_trial(study, number) for number in founders]
        complete = [t for t in trials if t is not None and t.state == TrialState.COMPLETE]
        unused = set(self.search_space).difference(*(trial.params for trial in complete))
        if complete and unused:
            self._warn(
                study,
                f"`search_space` has {sorted(unused)}, which the objective has suggested in no "
                "trial of generation 0.",
            )

    def _warn(self, study: Study, message: str) -> None:
        """Warn of the first contradiction in a study; the others have the same cure."""
        warned = self._warned(study)
        if not warned:
            warned.append(message)
            warnings.warn(message, stacklevel=2)


class _WithoutStop:
    """A study whose `stop` does nothing.

    Samplers such as `GridSampler` end a study when they have drawn all there is. As initial
    samplers they have only begun it. (What the user stops is stopped: the study is the same one.)
    """

    def __init__(self, study: Study) -> None:
        self._study = study

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def stop(self) -> None:
        """Do nothing."""


def without_stop(study: Study) -> Study:
    """Return the study for the hooks of an initial sampler, which must not stop it."""
    return cast("Study", _WithoutStop(study))


def _check_sampler(sampler: Any) -> None:
    if isinstance(sampler, type):
        raise TypeError(
            f"`initial_sampler` must be a sampler but got the class {sampler.__name__} in place of "
            f"an instance: write {sampler.__name__}()."
        )
    if sampler is not None and not isinstance(sampler, BaseSampler):
        raise TypeError(f"`initial_sampler` must be a sampler of Optuna but got {sampler!r}.")


def check_space(setting: str, space: Any) -> None:
    """Raise a TypeError unless `space`, given as `setting`, maps names to distributions."""
    if space is None:
        return
    if not isinstance(space, Mapping):
        raise TypeError(
            f"`{setting}` must be a mapping of names to distributions but got {space!r}."
        )
    for name, distribution in space.items():
        if not isinstance(name, str):
            raise TypeError(f"`{setting}` must have names for keys but has {name!r}.")
        if not isinstance(distribution, BaseDistribution):
            raise TypeError(
                f"`{setting}` must have distributions of Optuna for values but has {name!r}: "
                f"{distribution!r}."
            )


def _is_same(own: BaseDistribution, other: BaseDistribution) -> bool:
    """Return whether both hold the same values, a database's lists for tuples included."""
    if isinstance(own, CategoricalDistribution) and isinstance(other, CategoricalDistribution):
        return all(contains(other, choice) for choice in own.choices) and all(
            contains(own, choice) for choice in other.choices
        )
    return own == other


def _nothing(_: Study) -> list[str]:
    return []
