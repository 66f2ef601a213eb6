"""Variables that settings name: a name that no trial has would do nothing, and is an error."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.optuna import read_trial
from epbt_optuna._internal.text import get_logger
from epbt_optuna.genome import Genome

__all__ = ["NamedVariables"]

_logger = get_logger("epbt_optuna.samplers")


@dataclass(frozen=True)
class NamedVariables:
    """Which variables are named by which setting.

    Attributes:
        settings: The names, by the setting.
        search_space: The variables that are known beforehand, if any are.

    Raises:
        ValueError: There is a search space, and it lacks one.
    """

    settings: Mapping[str, Collection[str]]
    search_space: Mapping[str, BaseDistribution]

    def __post_init__(self) -> None:
        for setting, names in self.settings.items():
            unknown = sorted(set(names) - self.search_space.keys())
            if self.search_space and unknown:
                raise ValueError(
                    f"`{setting}` must name variables of `search_space`, which are "
                    f"{sorted(self.search_space)}, but has {unknown}."
                )

    def warn(self, trial: FrozenTrial, state: TrialState) -> None:
        """Warn of names that the first trial has not suggested, before a generation is trained.

        They may be those of conditional variables, so it is no error yet.
        """
        if trial.number > 0 or state != TrialState.COMPLETE:
            return
        for setting, names in self.settings.items():
            if unknown := sorted(set(names) - trial.params.keys()):
                _logger.warning(
                    "`%s` has %s, which trial 0 has not suggested; it has %s. If no other founder "
                    "does, the first offspring is an error.",
                    setting,
                    unknown,
                    sorted(trial.params),
                )

    def check(self, study: Study, number: int, parent: Genome) -> None:
        """Check the names when an offspring is asked: its parent may lack conditional variables.

        Then the trials before it are read until one has the variable, which founders do if any.

        Raises:
            ValueError: None has suggested it.
        """
        for setting, names in self.settings.items():
            for name in sorted(set(names) - parent.params.keys()):
                trials = (read_trial(study, earlier) for earlier in range(number))
                if not any(trial is not None and name in trial.params for trial in trials):
                    raise ValueError(
                        f"`{setting}` has {name!r}, which no trial before trial {number} of study "
                        f"{study.study_name!r} has suggested; its parent has "
                        f"{sorted(parent.params)}."
                    )
