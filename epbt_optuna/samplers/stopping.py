"""When to stop: study callbacks for `study.optimize` and `parallel.optimize`.

    stop = StopWithoutProgress(5)
    if not stop.reached(study):
        study.optimize(objective, n_trials, callbacks=[stop])

Both look at the study alone, so they mean the same in a run that was interrupted and resumed, and
with any number of workers. Trials that run when a study stops are finished. `reached` keeps a
program that is started again from training on in a study that one of them has stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.checks import check_integer, check_number
from epbt_optuna._internal.optuna import read_trial
from epbt_optuna.population import Generations, Individual
from epbt_optuna.population.individuals import raw_fitness

__all__ = ["StopAtFitness", "StopWithoutProgress"]


@dataclass(frozen=True)
class StopAtFitness:
    """Stops the study when a trial reaches a fitness without violating a constraint.

    Whichever worker's trial that is, each worker stops at the end of its own.

    Attributes:
        value: What `trial.value` must reach, or go beyond, in the direction of the study.

    Raises:
        TypeError: `value` is not a number.
        ValueError: `value` is not finite.

    Example:
        ```python
        study.optimize(objective, sampler.n_trials(25), callbacks=[StopAtFitness(0.95)])
        ```
    """

    value: float

    def __post_init__(self) -> None:
        check_number("value", self.value)

    def __call__(self, study: Study, trial: FrozenTrial) -> None:  # noqa: ARG002
        """Stop the study if a trial is fit enough, this one or another worker's."""
        if self.reached(study):
            study.stop()

    def reached(self, study: Study) -> bool:
        """Return whether a trial of the study is fit enough already."""
        try:
            individual = Individual.of(study.best_trial, study.direction)
        except ValueError:  # nobody is COMPLETE, or feasible
            return False
        wanted = raw_fitness(self.value, study.direction)
        return individual.violation == 0 and individual.fitness >= wanted


@dataclass(frozen=True)
class StopWithoutProgress:
    """Stops the study when generations go by without a fitter individual.

    It looks at each generation once its last trial has ended, whichever worker's that is. Trials
    that still run by then, of workers that wait for nobody, have their say at the end of the next.

    Attributes:
        n_generations: How many generations may go by.
        min_improvement: Progress is what betters the fitness by more than this, in its own unit.

    Raises:
        TypeError: A number is of the wrong type.
        ValueError: `n_generations` is below 1, or `min_improvement` is negative or not finite.
            When used: no sampler of ours breeds in the study.

    Example:
        ```python
        stop = StopWithoutProgress(5, min_improvement=0.001)
        study.optimize(objective, sampler.n_trials(100), callbacks=[stop])
        ```
    """

    n_generations: int
    min_improvement: float = 0.0

    def __post_init__(self) -> None:
        check_integer("n_generations", self.n_generations, at_least=1)
        check_number("min_improvement", self.min_improvement, at_least=0)

    def __call__(self, study: Study, trial: FrozenTrial) -> None:
        """Stop the study if a generation has ended and nothing has got better for long."""
        generations = Generations.required(study)
        generation = generations.of(trial.number + 1) - 1  # the trial's own, if it is the last
        if generation < self.n_generations:
            return
        # Another process may have told the last one: `study.stop` has stopped that process alone.
        last = read_trial(study, generations.n_trials(generation + 1) - 1)
        has_ended = last is not None and last.state.is_finished()
        if has_ended and not self._has_progress(study, generations, generation):
            study.stop()

    def reached(self, study: Study) -> bool:
        """Return whether nothing has got better for long, as of the last generation asked whole.

        Raises:
            ValueError: The study has asked trials, but no sampler of ours breeds in it.
        """
        trials = study.get_trials(deepcopy=False)
        n_asked = sum(trial.state != TrialState.WAITING for trial in trials)
        if n_asked == 0:
            return False
        generations = Generations.required(study)
        return not self._has_progress(study, generations, generations.of(n_asked) - 1)

    def _has_progress(self, study: Study, generations: Generations, generation: int) -> bool:
        """Return whether the study has got better since `n_generations` before this one."""
        if generation < self.n_generations:
            return True
        n_before = generations.n_trials(generation - self.n_generations + 1)
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        direction = study.direction  # once: it is asked of the storage each time
        individuals = [Individual.of(t, direction) for t in complete]
        before = [individual for individual in individuals if individual.number < n_before]
        if not before:  # whatever comes is progress
            return True
        best, best_before = (max(g, key=attrgetter("best_key")) for g in (individuals, before))
        is_more_feasible = best.violation < best_before.violation
        is_fitter = best.fitness - best_before.fitness > self.min_improvement
        return is_more_feasible or is_fitter
