"""The samplers: EPBT, and PBT as the paper's baseline, with their settings; ask/tell for both."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import Trial, TrialState

from epbt_optuna._internal.checks import check_integer, check_share
from epbt_optuna._internal.optuna import read_trial, suggest
from epbt_optuna.evolution import EPBT, PBT, Feasible
from epbt_optuna.operators import (
    Crossover,
    GaussianMutation,
    Mutation,
    ParentSelection,
    PerturbOrResample,
    TournamentSelection,
    Truncation,
    UniformCrossover,
)
from epbt_optuna.population import Generations
from epbt_optuna.samplers.founders import check_space
from epbt_optuna.samplers.generation import GenerationSampler
from epbt_optuna.samplers.wrappers import check_study, required_sampler

__all__ = ["EPBTSampler", "PBTSampler", "ask_generation"]


class EPBTSampler(GenerationSampler):
    """Enhanced Population-Based Training (Algorithm 1 of the EPBT paper) as an Optuna sampler.

    One trial is one evaluation of one individual in one generation. Trials of generation 0 are
    founders, drawn uniformly. Every later trial is an offspring: a tournament chooses its
    parent, another its mate, both genomes are mutated and crossed over. The objective takes the
    parent's weights from a `CheckpointStore`, trains for a while, and returns the fitness.
    The k fittest individuals survive each generation as they are: they are neither trained nor
    evaluated again, unless `train_elites` says so.

    PRUNED and FAILED trials use up their number but never breed. Enqueued trials keep their
    fixed params and inherit everything else. Constraints set with `trial.set_constraint` come
    before fitness. For many workers no coordination is needed: an offspring breeds from those
    of the last generation that have finished, and waits for nobody. With one worker, or with
    `ask_generation`, that is Algorithm 1 exactly.

    Args:
        population_size: Individuals in a population, p. Default: the paper's 40.
        n_elites: Individuals that survive a generation, k, in [0, p − 1]. Default: half of the
            population, as in the paper.
        selection: τ, chooses parents and mates.
        mutation: γ, varies a genome.
        crossover: ξ, combines the two mutated genomes. The paper swaps variables between the
            members of its parent set; here the mate is selected by τ as well, from everybody
            but the parent.
        train_elites: Whether elites go on training. Then every generation has p trials, and the
            first k of them continue the k fittest of the last one, with their own genomes and
            weights, and without a mate; a population is one generation's trials alone. With
            workers that wait for nobody an elite may be continued twice. One that is pruned or
            fails is lost, as any trial is. Default: the paper, whose elites stand still.
        fitness_smoothing: β, in [0, 1). Parents and elites are selected by (1 − β)·value + β·(the
            parent's smoothed value), so that one lucky evaluation does not decide;
            `sampler.fittest(study)` is the winner by it. A founder's is its value, and so is that
            of an individual where either is not finite. Default: 0, the paper.
        feasible: A predicate on params, such as `functools.partial(is_trainable, n_classes=10)`:
            an offspring that fails it is bred again, up to 100 times, then taken with a
            warning. Founders are held to it when `search_space` is given.
        initial_sampler: Any Optuna sampler for one objective, such as
            `optuna.samplers.QMCSampler()`, to draw generation 0 in place of uniform draws. One that
            stops a study when it has tried all there is does not stop this one.
        search_space: The variables and their distributions, where they are known beforehand.
            They then are drawn jointly for founders, which `feasible` and quasi-random initial
            samplers need; the objective must suggest the same ones.
        inherited: Names of variables that founders draw and offspring have from their parents,
            untouched by any operator: whatever shapes the network, such as its width. A trial that
            is enqueued with another value than its parent's is a founder, and so is one whose
            value `PartialFixedSampler` fixes. All workers must name the same ones.
        seed: A non-negative integer makes the run reproducible. Default: fresh entropy.

    Raises:
        TypeError: A number, an operator, `train_elites`, `feasible`, `initial_sampler`,
            `search_space` or `inherited` is of the wrong type, or an operator or `feasible` takes
            other arguments.
        ValueError: `population_size` is below 2, `n_elites` is not in [0, p − 1],
            `fitness_smoothing` is not in [0, 1), a tournament is larger than the population,
            `seed` is negative, or `inherited` names a variable that `search_space` lacks. When
            used: the study has more than one objective or was begun with another
            `population_size`, `n_elites`, `train_elites` or `fitness_smoothing`, an operator
            returns what its protocol excludes (the message names it), `search_space` leads to a
            value that the objective excludes, `inherited` names a variable that no trial has, or
            another sampler or a changed range lets an offspring have another value of one.

    Example:
        ```python
        import optuna
        from epbt_optuna import EPBTSampler

        sampler = EPBTSampler(population_size=8, seed=0)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.optimize(
            lambda trial: -abs(trial.suggest_float("x", -10, 10)), n_trials=sampler.n_trials(5)
        )
        ```
    """

    def __init__(
        self,
        population_size: int = 40,
        *,
        n_elites: int | None = None,
        selection: ParentSelection = TournamentSelection(),
        mutation: Mutation = GaussianMutation(),
        crossover: Crossover = UniformCrossover(),
        train_elites: bool = False,
        fitness_smoothing: float = 0.0,
        feasible: Feasible | None = None,
        initial_sampler: BaseSampler | None = None,
        search_space: Mapping[str, BaseDistribution] | None = None,
        inherited: Collection[str] = (),
        seed: int | None = None,
    ) -> None:
        check_integer("population_size", population_size, at_least=2)
        n_elites = population_size // 2 if n_elites is None else n_elites
        super().__init__(
            Generations(population_size, n_elites, train_elites, fitness_smoothing),
            EPBT(population_size, selection, mutation, crossover),
            feasible=feasible,
            initial_sampler=initial_sampler,
            search_space=search_space,
            inherited=inherited,
            seed=seed,
        )


class PBTSampler(GenerationSampler):
    """Population-Based Training (Jaderberg et al. 2017), the paper's baseline.

    Every generation has p trials, one for each member: trial n is member n mod p. A member goes
    on with its own weights and params unless it is in the least fit quarter; then it takes the
    weights of one of the fittest quarter, and that one's params explored. A member whose trial
    was pruned or failed is replaced in the same way, so a diverged member never lingers.

    Args:
        population_size: Members, p. Default: the paper's 40.
        exploit_fraction: Share of the population that is replaced, and of the fittest that
            replace them, in (0, 0.5]. Default: the paper's quarter.
        explore: Varies the params of a member that took another's. Default: the paper's
            perturbation by 1.2 and random resets.
        feasible: As for `EPBTSampler`.
        initial_sampler: As for `EPBTSampler`.
        search_space: As for `EPBTSampler`.
        inherited: As for `EPBTSampler`.
        seed: As for `EPBTSampler`.

    Raises:
        TypeError: As for `EPBTSampler`.
        ValueError: `population_size` is below 2, `exploit_fraction` is not in (0, 0.5], `seed` is
            negative, or `inherited` names a variable that `search_space` lacks. When used: as for
            `EPBTSampler`.
    """

    def __init__(
        self,
        population_size: int = 40,
        *,
        exploit_fraction: float = 0.25,
        explore: Mutation = PerturbOrResample(),
        feasible: Feasible | None = None,
        initial_sampler: BaseSampler | None = None,
        search_space: Mapping[str, BaseDistribution] | None = None,
        inherited: Collection[str] = (),
        seed: int | None = None,
    ) -> None:
        check_integer("population_size", population_size, at_least=2)
        check_share("exploit_fraction", exploit_fraction)
        super().__init__(
            Generations(population_size, n_elites=0),
            PBT(population_size, Truncation(exploit_fraction), explore),
            feasible=feasible,
            initial_sampler=initial_sampler,
            search_space=search_space,
            inherited=inherited,
            seed=seed,
        )


def ask_generation(
    study: Study, fixed_distributions: Mapping[str, BaseDistribution] | None = None
) -> list[Trial]:
    """Ask all trials of the study's next generation at once, or those still missing of it.

    The ask/tell face of the samplers: train the whole generation as one batch, then tell every
    trial. Enqueued trials come first, as with `study.ask`. One process drives the study: other
    workers asking at the same time would take numbers of the generation.

    Args:
        study: A study whose sampler is an `EPBTSampler` or a `PBTSampler`, or has one inside.
        fixed_distributions: The variables to suggest, as for `optuna.Study.ask`.

    Returns:
        The trials, by number. Generation 0 has p, every later one p − k, or p with `train_elites`.

    Raises:
        TypeError: The study's sampler is another one, or `fixed_distributions` is no mapping of
            names to distributions; no trial is asked.
        ValueError: The study is not one that its sampler can go on with; no trial is asked.
        Exception: What an operator or a sampler raises; the trials asked so far are failed.
    """
    sampler = required_sampler(study)
    check_space("fixed_distributions", fixed_distributions)
    check_study(study)
    trials: list[Trial] = []
    try:
        _ask(study, fixed_distributions or {}, trials)
        first = trials[0].number
        for number in range(first + 1, sampler.trial_numbers(sampler.generation_of(first)).stop):
            trial = read_trial(study, number)
            if trial is None or trial.state == TrialState.WAITING:
                _ask(study, fixed_distributions or {}, trials)
    except BaseException:
        for asked in trials:  # nobody else has them
            study.tell(asked, state=TrialState.FAIL)
        raise
    return trials


def _ask(study: Study, distributions: Mapping[str, BaseDistribution], trials: list[Trial]) -> None:
    """Append a new trial to `trials` before its first suggestion, which may raise."""
    trials.append(study.ask())
    for name, distribution in distributions.items():
        suggest(trials[-1], name, distribution)
