"""What a sampler tells of its generations: who is in them, who is alive, who can expect offspring.

`GenerationSampler` adds Optuna's hooks, in which generations are bred.
"""

from __future__ import annotations

from optuna import Study
from optuna.samplers import BaseGASampler
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.checks import check_integer, check_one_objective
from epbt_optuna._internal.optuna import read_existing
from epbt_optuna._internal.per_study import PerStudy
from epbt_optuna.evolution import Evolution
from epbt_optuna.population import Generations, Population, PopulationHistory

__all__ = ["Populations"]


class Populations(BaseGASampler):
    """The generations of the studies that a sampler breeds in, as `BaseGASampler` knows them."""

    def __init__(self, generations: Generations, evolution: Evolution) -> None:
        super().__init__(generations.population_size)
        self._generations = generations
        self._evolution = evolution
        self._history = PerStudy(self._make_history)

    @property
    def generations(self) -> Generations:
        """The arithmetic of trial numbers."""
        return self._generations

    @property
    def population_size(self) -> int:
        """Individuals in a population, p; fixed, as generations are counted by it."""
        return self._generations.population_size

    @population_size.setter
    def population_size(self, value: int) -> None:
        raise AttributeError(f"`population_size` is fixed but was to be set to {value}.")

    @property
    def n_elites(self) -> int:
        """Individuals that survive a generation, k, as they are or trained on."""
        return self._generations.n_elites

    def n_trials(self, n_generations: int, study: Study | None = None) -> int:
        """Return how many trials a run has, or how many of them are still to be run in a study.

        Args:
            n_generations: Generations to run, counting generation 0, as the paper does: its 25
                generations of 40 with 20 elites are 40 + 24·20 = 520 trials. With
                `train_elites` every generation has p.
            study: A study that may have trials already. Those that were asked, whatever became
                of them, are not run again; enqueued ones still are.

        Returns:
            What is to be passed as `n_trials` to `study.optimize`. With `study`, the same line
            starts a run and resumes it, and asks for nothing when it is done.

        Raises:
            TypeError: `n_generations` is not an integer.
            ValueError: `n_generations` is below 1, or the study was begun with other generations.

        Example:
            ```python
            study.optimize(objective, n_trials=sampler.n_trials(25, study))
            ```
        """
        check_integer("n_generations", n_generations, at_least=1)
        total = self._generations.n_trials(n_generations)
        if study is None:
            return total
        # Another population counts other trials: it may find nothing missing, and nobody is told.
        self._generations.record(study, dry_run=True)
        trials = study.get_trials(deepcopy=False)
        return max(0, total - sum(trial.state != TrialState.WAITING for trial in trials))

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

    def fittest(self, study: Study) -> FrozenTrial:
        """Return the fittest of all COMPLETE trials of a study, as selection sees them.

        That is the winner where fitness is smoothed; `study.best_trial` has the greatest value,
        which may be one lucky evaluation. Without smoothing both are the same, but of equals this
        is the newest, and where none is feasible, the one that violates its constraints least.

        Args:
            study: A study that this sampler breeds in, or could go on with.

        Raises:
            ValueError: No trial is COMPLETE. The study has several objectives, or was begun with
                other generations.
        """
        check_one_objective(self, study)
        self._generations.record(study, dry_run=True)
        last = self._generations.of(len(study.get_trials(deepcopy=False)))
        fittest = self._history(study).fittest(study, last)
        if fittest is None:
            raise ValueError(
                f"Study {study.study_name!r} has no fittest trial: none of its trials is COMPLETE."
            )
        return read_existing(study, fittest.number)

    def get_individuals(self, study: Study, generation: int) -> Population:
        """Return M_g as selection sees it, without reading the trials again; else as above."""
        return self._history(study).population(study, generation)

    def get_parent_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        """Return the trials that `generation` breeds from, M_(g−1), the fittest first."""
        return self.get_population(study, generation - 1)

    def expected_offspring(self, population_size: int | None = None) -> list[float]:
        """Return how many offspring each rank of a population can expect, the fittest first.

        An individual that survives as an elite, trained on or not, counts as one of its own. The
        mean over a whole population is 1.

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

    def _make_history(self, study: Study) -> PopulationHistory:
        # Other generations are made of other trials: a population would be wrong, and nobody told.
        self._generations.record(study, dry_run=True)
        return PopulationHistory(self._generations)
