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
from epbt_optuna.population import Generations, Individual
from epbt_optuna.population.individuals import raw_fitness

__all__ = ["StopAtFitness", "StopWithoutProgress"]


@dataclass(frozen=True)
class StopAtFitness:
    """Stops the study when a trial reaches a fitness without violating a constraint.

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

    def __call__(self, study: Study, trial: FrozenTrial) -> None:
        """Stop the study if this trial is fit enough."""
        if trial.state == TrialState.COMPLETE and self._is_fit(study, trial):
            study.stop()

    def reached(self, study: Study) -> bool:
        """Return whether a trial of the study is fit enough already."""
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return any(self._is_fit(study, trial) for trial in complete)

    def _is_fit(self, study: Study, trial: FrozenTrial) -> bool:
        individual = Individual.of(trial, study.direction)
        wanted = raw_fitness(self.value, study.direction)
        return individual.violation == 0 and individual.fitness >= wanted


@dataclass(frozen=True)
class StopWithoutProgress:
    """Stops the study when generations go by without a fitter individual.

    It looks once a generation, at the end of the generation's last trial. Trials that still run
    by then, of workers that wait for nobody, have their say at the end of the next.

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
        """Stop the study if this trial ends a generation and nothing has got better for long."""
        generations = Generations.required(study)
        generation = generations.of(trial.number)
        is_last = generations.of(trial.number + 1) > generation
        if is_last and not self._has_progress(study, generations, generation):
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
        individuals = [Individual.of(t, study.direction) for t in complete]
        before = [individual for individual in individuals if individual.number < n_before]
        if not before:  # whatever comes is progress
            return True
        best, best_before = (max(g, key=attrgetter("best_key")) for g in (individuals, before))
        is_more_feasible = best.violation < best_before.violation
        is_fitter = best.fitness - best_before.fitness > self.min_improvement
        return is_more_feasible or is_fitter
