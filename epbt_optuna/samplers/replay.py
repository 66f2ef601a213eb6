"""Replay: fresh networks trained along a schedule, as an Optuna study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, Trial, TrialState

from epbt_optuna._internal.attrs import LINEAGE, PINNED, REPLAY_POSITION, REPLAYED
from epbt_optuna._internal.checks import check_integer, check_one_objective
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import fixed_params, read_study_attrs, read_system_attrs
from epbt_optuna._internal.text import get_logger
from epbt_optuna.genome import contains, is_same, own_value
from epbt_optuna.lineage.schedule import Schedule, ScheduleStep
from epbt_optuna.population import Generations, Lineage
from epbt_optuna.samplers.refusal import fail_refused
from epbt_optuna.samplers.replayed import find_predecessor, has_position, is_recorded

__all__ = ["ReplayPosition", "ReplaySampler"]

_logger = get_logger("epbt_optuna.samplers")

# Populations of one without elites: trial n is generation n, and breeds from the newest COMPLETE
# trial. So who may still be a parent, which is what `CheckpointStore.collect` asks, is known.
_ONE_AT_A_TIME = Generations(population_size=1, n_elites=0)


@dataclass(frozen=True)
class ReplayPosition:
    """Where a trial of a replay stands.

    Attributes:
        network: Which network it trains, counted from 0; a seed, if you like.
        index: Which step of the schedule it trains, counted from 0.
        step: That step: `step.n_reports` says for how many epochs.
    """

    network: int
    index: int
    step: ScheduleStep


class ReplaySampler(BaseSampler):
    """Trains fresh networks along a schedule, one step a trial.

    Trial i is given exactly the params of step i and inherits from trial i − 1, so an objective
    written for `EPBTSampler` and a `CheckpointStore` replays as it is: on all of the data, on
    another architecture, for as long as `position(trial).step.n_reports` says. After the last
    step the next network begins afresh: of several networks, trial n trains network
    n // len(schedule) at step n % len(schedule).

    A step that fails or is pruned has used up a number, as always; the next trial trains the same
    step again, from the same weights, so that no network ever skips one. (A step that always
    fails is tried again until `optimize` ends. Pruners make no sense of a replay: use
    `optuna.pruners.NopPruner` if the objective asks.) Networks are trained one after another:
    for several at once, give each worker a study of its own.

    Weights that were averaged with a mate's (`inherit(trial, mate_weight=...)`) have a second
    history, which no schedule has: a replay goes without it, and a warning says so.

    Each trial is a generation of one, so `ancestry` and the like read a replay too, and
    `CheckpointStore.collect` keeps the newest checkpoint, the best one, and that of every
    network's last step.

    Args:
        schedule: What to replay. Variables that the objective does not suggest are left out.

    Raises:
        TypeError: `schedule` is not a `Schedule`, or one that JSON cannot hold.
        ValueError: When used: the objective suggests a variable that the step does not have, or
            from a distribution that excludes the step's value; another trial is still running;
            the study has several objectives, another schedule, or is not a replay.

    Example:
        ```python
        sampler = ReplaySampler(Schedule.from_study(evolved))
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.optimize(objective, n_trials=sampler.n_trials(n_networks=5))
        ```
    """

    def __init__(self, schedule: Schedule) -> None:
        if not isinstance(schedule, Schedule):
            raise TypeError(f"`schedule` must be a Schedule but got {schedule!r}.")
        if schedule.is_averaged:
            _logger.warning(
                "The schedule of study %r says what one line of parents trained with, but its "
                "weights were averaged with those of mates: a replay cannot repeat that, and its "
                "networks may be worse.",
                schedule.study_name,
            )
        self._schedule = schedule
        self._digest = schedule.digest

    @property
    def schedule(self) -> Schedule:
        """The schedule."""
        return self._schedule

    def n_trials(self, n_networks: int = 1, study: Study | None = None) -> int:
        """Return how many trials it takes to train networks from start to end, if none fails.

        Args:
            n_networks: How many networks.
            study: A study that replays the schedule already. Its steps that are COMPLETE are not
                trained again.

        Raises:
            TypeError: `n_networks` is not an integer.
            ValueError: `n_networks` is below 1.
        """
        check_integer("n_networks", n_networks, at_least=1)
        total = n_networks * len(self._schedule)
        if study is None:
            return total
        identity = StudyIdentity.of(study)
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return max(0, total - sum(has_position(trial, identity) for trial in complete))

    def position(self, trial: Trial | FrozenTrial) -> ReplayPosition:
        """Return which network a trial trains, and at which step.

        Raises:
            ValueError: No `ReplaySampler` has asked the trial.
        """
        attrs = (
            read_system_attrs(trial.study, trial)
            if isinstance(trial, Trial)
            else trial.system_attrs
        )
        position = REPLAY_POSITION.of_trial(trial.number, attrs)
        if position is None:
            raise ValueError(f"Trial {trial.number} is not one that a ReplaySampler has asked.")
        network, index = position
        if network < 0 or not 0 <= index < len(self._schedule):
            problem = f"the schedule has no step {index} of network {network}"
            raise REPLAY_POSITION.unreadable(f"Trial {trial.number}", problem)
        return ReplayPosition(network, index, self._schedule.steps[index])

    def check_study(self, study: Study) -> None:
        """Raise what the next ask would say of the study, before there is a trial to fail.

        Raises:
            ValueError: The study has several objectives, another schedule, is not a replay, or has
                a record that cannot be read.
        """
        check_one_objective(self, study)
        study_attrs = read_study_attrs(study)
        StudyIdentity.of(study, study_attrs)
        is_recorded(study, study_attrs, self._digest)

    # Optuna's hooks

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Record which step the trial trains, and from whose weights."""
        try:
            check_one_objective(self, study)
            identity = self._record_schedule(study, trial)
            predecessor = find_predecessor(study, trial, identity)
            network, index = self._next(predecessor)
            self._check_queued(study, trial, identity, network, index)
        except BaseException as error:
            fail_refused(study, trial, error)
            raise
        parent = predecessor.number if predecessor is not None and index > 0 else None
        lineage = Lineage(trial.number, _ONE_AT_A_TIME.of(trial.number), parent)
        REPLAY_POSITION.write_to_trial(study, trial, [network, index])
        LINEAGE.write_to_trial(study, trial, lineage.record(identity.token))
        if index == len(self._schedule) - 1:
            PINNED.write_to_trial(study, trial, True)

    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """Return nothing: what the objective suggests is checked as it is suggested."""
        return {}

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,  # noqa: ARG002
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        """Return nothing: every variable is looked up on its own."""
        check_one_objective(self, study)
        return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return the step's value of the variable."""
        check_one_objective(self, study)
        position = self.position(trial)
        index, step = position.index, position.step
        if param_name not in step.params:
            raise ValueError(
                f"{self._name_of(index)} has no parameter {param_name!r}, which the objective "
                f"suggests; it has {sorted(step.params)}."
            )
        value = step.params[param_name]
        if not contains(param_distribution, value):
            raise ValueError(
                f"{self._name_of(index)} has {param_name}={value!r}, which {param_distribution} "
                "excludes."
            )
        # The objective's own category: a database has made lists of tuples.
        if isinstance(param_distribution, CategoricalDistribution):
            return own_value(param_distribution, value)
        return value

    def after_trial(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,  # noqa: ARG002
    ) -> None:
        """Check what no hook could: a range of a single value is taken without asking."""
        if state != TrialState.COMPLETE:
            return
        position = self.position(trial)
        for name, value in position.step.params.items():
            distribution = trial.distributions.get(name)
            if distribution is None or not distribution.single():
                continue
            if not is_same(distribution, trial.params[name], value):
                raise ValueError(
                    f"{self._name_of(position.index)} has {name}={value!r}, but trial "
                    f"{trial.number} suggested it from {distribution}."
                )

    # What the hooks are made of

    def _name_of(self, index: int) -> str:
        step = self._schedule.steps[index]
        return (
            f"Step {index} of the schedule (trial {step.trial} of study "
            f"{self._schedule.study_name!r})"
        )

    def _next(self, predecessor: FrozenTrial | None) -> tuple[int, int]:
        if predecessor is None:
            return 0, 0
        done = self.position(predecessor)
        is_last = done.index + 1 == len(self._schedule)
        return (done.network + 1, 0) if is_last else (done.network, done.index + 1)

    def _check_queued(
        self, study: Study, trial: FrozenTrial, identity: StudyIdentity, network: int, index: int
    ) -> None:
        """Raise if an enqueued trial has params of its own, or a retry comes too late."""
        params, distributions = self._schedule.steps[index].params, self._schedule.distributions
        for name, value in fixed_params(study, trial).items():
            if name not in params or not is_same(distributions[name], params[name], value):
                raise ValueError(
                    f"Trial {trial.number} was enqueued with {name}={value!r}, but trains step "
                    f"{index} of the schedule, which has {dict(params)}."
                )
        if not has_position(trial, identity):
            return
        retried = REPLAY_POSITION.of_trial(trial.number, trial.system_attrs)
        if tuple(retried) != (network, index):
            raise ValueError(
                f"Trial {trial.number} retries step {retried[1]} of network {retried[0]}, which "
                "another trial has trained since."
            )

    def _record_schedule(self, study: Study, trial: FrozenTrial) -> StudyIdentity:
        """Record what is replayed, so that a study goes on with what it began with."""
        attrs = read_study_attrs(study)
        identity = StudyIdentity.drawn(study, trial.number, attrs)
        if not is_recorded(study, attrs, self._digest):
            REPLAYED.write_to_study(study, self._digest)
            _ONE_AT_A_TIME.record(study, attrs)
        return identity
