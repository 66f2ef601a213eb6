"""Which trial is next, and whether the barrier lets it be asked."""

from __future__ import annotations

from optuna import Study
from optuna.trial import TrialState

from epbt_optuna._internal.optuna import read_trial
from epbt_optuna.population import Generations
from epbt_optuna.samplers.wrappers import generations_of

__all__ = ["TrialQueue"]


class TrialQueue:
    """The trials that one run is to ask, in the order of their numbers.

    Args:
        study: The study.
        n_trials: How many trials to ask, or None.
        n_generations: How many generations the study is to have, or None.
    """

    def __init__(self, study: Study, n_trials: int | None, n_generations: int | None) -> None:
        self._study = study
        self._generations = generations_of(study)
        trials = study.get_trials(deepcopy=False)
        self._next = next((t.number for t in trials if t.state == TrialState.WAITING), len(trials))
        self._unsettled = [t.number for t in trials if t.state == TrialState.RUNNING]
        self._settled_to = len(trials)
        self._n_left = n_trials
        self._has_asked = False
        self._end: int | None = None
        if n_generations is not None and self._generations is not None:
            self._end = self._generations.n_trials(n_generations)
            waiting = sum(t.state == TrialState.WAITING for t in trials[: self._end])
            self.n_trials = waiting + max(0, self._end - len(trials))
        else:
            self.n_trials = n_trials or 0

    @property
    def is_done(self) -> bool:
        """Whether no trial is left to be asked."""
        if self._n_left is not None:
            return self._n_left == 0
        return self._end is not None and self._next_number() >= self._end

    @property
    def next_generation(self) -> int | None:
        """The generation of the next trial; None where the study has no generations."""
        return None if self._generations is None else self._generations.of(self._next_number())

    def generation_of(self, number: int) -> int | None:
        """Return the generation of a trial; None where the study has no generations."""
        return None if self._generations is None else self._generations.of(number)

    def count(self) -> None:
        """Count a trial that was asked.

        A sampler that breeds inside of another one may be hidden. With its first trial it has
        recorded the arithmetic in the study.
        """
        if not self._has_asked:
            self._has_asked = True
            self._generations = self._generations or Generations.recorded(self._study)
        if self._n_left is not None:
            self._n_left -= 1

    def unfinished_before(self, generation: int) -> list[int]:
        """Return the RUNNING trials of all earlier generations, by number."""
        assert self._generations is not None
        first = self._generations.numbers(generation).start
        new = range(self._settled_to, first)
        candidates = [number for number in (*self._unsettled, *new) if self._is_running(number)]
        self._settled_to = max(first, self._settled_to)
        self._unsettled = candidates
        return [number for number in candidates if number < first]

    def settle(self, numbers: list[int]) -> None:
        """Wait for these trials no longer."""
        self._unsettled = [number for number in self._unsettled if number not in numbers]

    def _next_number(self) -> int:
        """Return the lowest number that nobody has asked yet."""
        while (trial := read_trial(self._study, self._next)) and trial.state != TrialState.WAITING:
            self._next += 1
        return self._next

    def _is_running(self, number: int) -> bool:
        trial = read_trial(self._study, number)
        return trial is not None and trial.state == TrialState.RUNNING
