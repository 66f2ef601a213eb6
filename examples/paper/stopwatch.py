"""Where the time goes: every second of a job belongs to one stage of the algorithm."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState


class Stopwatch:
    """Charges time to the innermost stage that is open, and to `"other"` where none is.

    Args:
        synchronize: Waits for the device, so that work is charged where it was asked for.
    """

    def __init__(self, synchronize: Callable[[], None] = lambda: None) -> None:
        self._synchronize = synchronize
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._open = ["other"]
        self._since = perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Charge what happens within to this stage."""
        self._charge()
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def lap(self) -> dict[str, float]:
        """Return the seconds by stage since the last lap."""
        self._charge()
        seconds = dict(self._seconds)
        self._seconds.clear()
        return seconds

    def _charge(self) -> None:
        self._synchronize()
        now = perf_counter()
        self._seconds[self._open[-1]] += now - self._since
        self._since = now


def add_seconds(laps: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Add up laps, stage by stage."""
    return {
        stage: sum(lap.get(stage, 0.0) for lap in laps)
        for stage in sorted({name for lap in laps for name in lap})
    }


class TimedSampler(BaseSampler):
    """A sampler whose every hook is charged to the stage `"breed"`: stages 1 and 2 of Algorithm 1.

    Args:
        sampler: Any sampler.
        stopwatch: Whose stage it is.
    """

    def __init__(self, sampler: BaseSampler, stopwatch: Stopwatch) -> None:
        self._sampler = sampler
        self._stopwatch = stopwatch

    def reseed_rng(self) -> None:
        """Pass on."""
        self._sampler.reseed_rng()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Stage 1: select parent and mate."""
        with self._stopwatch.stage("breed"):
            self._sampler.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Look up what the parent has."""
        with self._stopwatch.stage("breed"):
            return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Stage 2: mutate and cross over."""
        with self._stopwatch.stage("breed"):
            return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, distribution: BaseDistribution
    ) -> Any:
        """Draw one variable."""
        with self._stopwatch.stage("breed"):
            return self._sampler.sample_independent(study, trial, param_name, distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Pass on."""
        with self._stopwatch.stage("breed"):
            self._sampler.after_trial(study, trial, state, values)
