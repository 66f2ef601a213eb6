"""Variables that founders draw and offspring inherit, such as those that shape the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from epbt_optuna._internal.optuna import enqueued_params, fixed_params
from epbt_optuna.genome import Genome, contains, is_same

__all__ = ["Inherited"]


@dataclass(frozen=True)
class Inherited:
    """The names of these variables.

    An individual has them from its founder, so they are those of the network whose weights it
    inherits. Whoever is to have others needs weights of its own: it is a founder.
    """

    names: frozenset[str]

    def keep(self, parent: Genome, offspring: Genome) -> Genome:
        """Return the offspring's genome with the parent's values of these variables."""
        kept = {name: parent.params[name] for name in self.names & parent.params.keys()}
        return Genome({**offspring.params, **kept}, offspring.distributions) if kept else offspring

    def makes_founder(self, study: Study, trial: FrozenTrial, parent: Genome) -> bool:
        """Return whether a trial, when it is asked, has one of them fixed to another value.

        Where the parent lacks a variable, as it may lack a conditional one, what is enqueued is
        another value. What `PartialFixedSampler` fixes is not: it does so for every trial, also for
        those that are never going to suggest it.
        """
        enqueued = enqueued_params(trial)
        return any(
            not is_same(parent.distributions[name], value, parent.params[name])
            if name in parent.params
            else name in enqueued
            for name, value in fixed_params(study, trial).items()
            if name in self.names
        )

    def check_wrapped(
        self, study: Study, trial: FrozenTrial, genome: Genome, wrapped: Mapping[str, Any]
    ) -> None:
        """Check what a sampler around ours is going to suggest of an offspring's variables.

        Raises:
            ValueError: It changes one of these. When the trial was asked, nobody could know.
        """
        for name in sorted(self.names & wrapped.keys()):
            value = genome.params[name]
            if not is_same(genome.distributions[name], wrapped[name], value):
                raise ValueError(
                    f"`inherited` has {name!r}, which trial {trial.number} has from its parent as "
                    f"{value!r}, but {type(study.sampler).__name__} makes it {wrapped[name]!r}. "
                    "Fix it with PartialFixedSampler or enqueue it, and the trial is a founder."
                )

    def outside(
        self, trial: FrozenTrial, genome: Genome, name: str, distribution: BaseDistribution
    ) -> Any:
        """Return an offspring's value of one of them that the objective's distribution excludes.

        That is a number that was enqueued out of its range, as Optuna lets users do.

        Raises:
            ValueError: It was inside of the distribution that the parent had it from.
        """
        value, own = genome.params[name], genome.distributions[name]
        if contains(own, value):
            raise ValueError(
                f"`inherited` has {name!r}, which trial {trial.number} has from its parent as "
                f"{value!r}, but the objective suggests it from {distribution}, which excludes "
                f"{value!r}."
            )
        return value
