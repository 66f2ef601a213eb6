"""The pruner: stops individuals that have diverged, or from which nobody will descend.

A pruner of ordinary trials asks whether a trial can still win. In a population that is the wrong
question, because those who do not win breed as well; here it is how many offspring a trial can
expect, and that is for the sampler's own selection to say.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

from optuna import Study
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.checks import check_boolean, check_integer, check_number
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import read_trial
from epbt_optuna._internal.per_study import PerStudy, empty_dict
from epbt_optuna._internal.text import get_logger
from epbt_optuna.population import SmoothedFitness
from epbt_optuna.pruning.reports import Reports
from epbt_optuna.pruning.standing import Standing
from epbt_optuna.samplers.generation import GenerationSampler
from epbt_optuna.samplers.wrappers import generation_sampler

__all__ = ["EPBTPruner"]

_MOST_KEPT = 1024  # finished trials of a study
_LOST = (TrialState.PRUNED, TrialState.FAIL)

# Below Optuna's own logger: a reason appears beside Optuna's "Trial 7 pruned."
_logger = get_logger("epbt_optuna.pruning")


class EPBTPruner(BasePruner):
    """Stops an individual for one of two reasons: it has diverged, or it has no future.

    **Diverged**: the value just reported is not finite.

    **No future**: the number of offspring that it can expect, itself counted where it survives
    as an elite, is below `min_offspring`. The mean over a population is 1 with both samplers.
    Individuals are compared within their generation only, after the same number of reports:
    siblings differ in the age of their weights, so reports are counted from the beginning of
    each trial.

    1. What training still brings is taken to be one of the gains, from this many reports to the
       end, of the finished trials of the generation and of the population it was bred from. Each
       is equally likely, for the individual and for its siblings. So a lead counts for as much
       as it exceeds what training makes of equals.
    2. A sibling counts with what it had reported by then, whatever became of it since. One that
       was pruned or failed earlier is less fit.
    3. An elite counts with its fitness, which the individual has to beat at its end. What the
       elite itself reported is no measure: its weights were a generation younger then. One that
       goes on training (`train_elites`) is a sibling like any other.
    4. Of siblings that have not come so far, any number may turn out to be fitter. After a of m
       siblings were, j of u others are with probability C(a + j, j) · C(m − a + u − j, u − j) /
       C(m + u + 1, u): every order of equals is as likely as another.
    5. The sampler says how many offspring each rank can expect: with `EPBTSampler` and tournaments
       of t, rank r of p has (p − k) · C(p − r, t − 1) / C(p, t), and itself if r ≤ k. With
       `PBTSampler` the least fit quarter is replaced, and has none.

    Where the sampler smooths fitness, all of this is smoothed: what somebody reported counts as it
    would if it were the value in the end.

    Ranks are those of the population as if nobody were pruned, so pruning does not feed on
    itself. After the last report nobody is pruned for want of a future: no training is left to
    be saved. Infeasible siblings and elites count as less fit, and so do equals; constraints of
    the individual itself are not looked at. The latest value decides, not the best: report what
    the objective returns, and wrap this pruner in `optuna.pruners.PatientPruner` to wait for a
    decline.

    With one worker, or with `ask_generation`, what is pruned depends on the seed alone. With
    several it depends on how far siblings have come as well, and workers that prune at the same
    moment may leave fewer than `min_survivors`, by one for each further worker.

    Args:
        min_offspring: Expected offspring below which an individual is pruned, in [0, 1]; 0 never
            prunes for that reason, and then any sampler will do. Default: 0.4. With the paper's
            p = 40, k = 20 and t = 2 those who will be no elites expect 19/78 = 0.24 where they
            cannot be told apart; where they can, ranks 25 to 40 are below. With `PBTSampler`
            those are below who are in the least fit quarter with a probability above 0.6.
        prune_non_finite: Whether a report of NaN or ±infinity is a reason, at any time.
        n_warmup_steps: Reports that an individual can make before it may lack a future.
        n_min_trials: Trials, at least 1, that have reported as often, were trained on and have
            finished, for step 1 to learn from; of the generation or of the population it was
            bred from.
        min_survivors: Trials of a generation, at least 1, that must be left to breed when one is
            pruned for want of a future. Default: a parent and a mate.
        sampler: The `EPBTSampler` or `PBTSampler` whose population this is. Default: the
            study's, also where another one is around it (`optuna.samplers.PartialFixedSampler`).
            Needed where the study was loaded without it.

    Raises:
        TypeError: An argument is of the wrong type, or `sampler` is another one. When used: the
            study's sampler is another one, or it has a selection of the user's own without
            `win_probabilities` (see `epbt_optuna.operators.SelectionOdds`).
        ValueError: A number is out of its range.

    Example:
        ```python
        import optuna
        from epbt_optuna import EPBTPruner, EPBTSampler


        def objective(trial):
            x = trial.suggest_float("x", -10, 10)
            for epoch in range(8):
                fitness = epoch - abs(x)
                trial.report(fitness, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned
            return fitness


        sampler = EPBTSampler(population_size=8, seed=0)
        study = optuna.create_study(direction="maximize", sampler=sampler, pruner=EPBTPruner())
        study.optimize(objective, n_trials=sampler.n_trials(5))
        ```
    """

    def __init__(
        self,
        *,
        min_offspring: float = 0.4,
        prune_non_finite: bool = True,
        n_warmup_steps: int = 0,
        n_min_trials: int = 5,
        min_survivors: int = 2,
        sampler: BaseSampler | None = None,
    ) -> None:
        check_number("min_offspring", min_offspring, at_least=0)
        if min_offspring > 1:
            raise ValueError(f"`min_offspring` must be at most 1 but got {min_offspring}.")
        check_boolean("prune_non_finite", prune_non_finite)
        check_integer("n_warmup_steps", n_warmup_steps, at_least=0)
        check_integer("n_min_trials", n_min_trials, at_least=1)
        check_integer("min_survivors", min_survivors, at_least=1)
        self._min_offspring = min_offspring
        self._prune_non_finite = prune_non_finite
        self._n_warmup_steps = n_warmup_steps
        self._n_min_trials = n_min_trials
        self._min_survivors = min_survivors
        self._finished: PerStudy[dict[int, FrozenTrial]] = PerStudy(empty_dict)
        self._smoothed: PerStudy[dict[int, float]] = PerStudy(empty_dict)
        self._sampler = None if sampler is None else _require_ours("sampler", sampler)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether the trial shall stop; Optuna calls this in `trial.should_prune()`.

        Args:
            study: The study.
            trial: One of its trials, with what it has reported.
        """
        reason = self._divergence(trial) or self._lack_of_future(study, trial)
        if reason is not None:
            _logger.info("Trial %d has no use for further training: %s.", trial.number, reason)
        return reason is not None

    def _divergence(self, trial: FrozenTrial) -> str | None:
        if not self._prune_non_finite or trial.last_step is None:
            return None
        value = trial.intermediate_values[trial.last_step]
        return None if math.isfinite(value) else f"it reported {value}"

    def _lack_of_future(self, study: Study, trial: FrozenTrial) -> str | None:
        if self._min_offspring == 0:
            return None
        sampler = self._sampler or _require_ours("study.sampler", study.sampler)
        identity = StudyIdentity.of(study)
        finished = self._finished(study, identity)
        smoothing = sampler.generations.fitness_smoothing
        read, known = partial(_read_one, study, finished), self._smoothed(study, identity)
        fitness = SmoothedFitness(smoothing, study.direction, identity, read, known)
        reports = Reports(fitness, trial)
        if reports.n_reports <= self._n_warmup_steps:
            return None
        standing = self._standing(study, trial, sampler, finished, reports)
        if standing is None:
            return None
        expected = standing.expect(sampler.expected_offspring(standing.population_size))
        if expected >= self._min_offspring or math.isclose(expected, self._min_offspring):
            return None
        return (
            f"after report {reports.n_reports} it can expect {expected:.2g} "
            f"offspring, less than {self._min_offspring:g}"
        )

    def _standing(
        self,
        study: Study,
        trial: FrozenTrial,
        sampler: GenerationSampler,
        finished: dict[int, FrozenTrial],
        reports_at: Reports,
    ) -> Standing | None:
        """Return where the trial stands; None if there is too little to go by."""
        generation = sampler.generation_of(trial.number)
        others = [n for n in sampler.trial_numbers(generation) if n != trial.number]
        siblings = list(_read(study, finished, others))
        if len(others) - sum(s.state in _LOST for s in siblings) < self._min_survivors:
            return None
        individuals = sampler.get_individuals(study, generation - 1)
        parents = list(_read(study, finished, [individual.number for individual in individuals]))
        elites = parents[: sampler.generations.n_standing]
        gains = reports_at.gains([*siblings, *parents])
        if len(gains) < self._n_min_trials:
            return None
        finals = [reports_at.final(elite) for elite in elites]
        reports = []
        for sibling in siblings:
            if reports_at.has_come_so_far(sibling):
                reports.append(reports_at.report(sibling))
            elif sibling.state in _LOST:
                reports.append(-math.inf)
            elif sibling.state == TrialState.COMPLETE:  # added, or one that reports less often
                finals.append(reports_at.final(sibling))
        n_unknown = len(others) + len(elites) - len(reports) - len(finals)
        return Standing(reports_at.own(trial), reports, n_unknown, finals, gains)


def _read(
    study: Study, finished: dict[int, FrozenTrial], numbers: Sequence[int]
) -> Iterator[FrozenTrial]:
    """Yield the trials with these numbers, as far as they exist; the finished ones are kept.

    Threads may read at the same time: both get the same finished trial, whoever's is kept.
    """
    if len(finished) > _MOST_KEPT:
        finished.clear()  # of generations long gone, above all; the others are read again
    for number in numbers:
        trial = finished.get(number) or read_trial(study, number)
        if trial is None:
            break  # numbers are handed out in order
        if trial.state.is_finished():
            finished[number] = trial
        yield trial


def _read_one(study: Study, finished: dict[int, FrozenTrial], number: int) -> FrozenTrial | None:
    return next(_read(study, finished, [number]), None)


def _require_ours(name: str, sampler: BaseSampler) -> GenerationSampler:
    breeding = generation_sampler(sampler)
    if breeding is None:
        raise TypeError(
            f"`{name}` must be an EPBTSampler or a PBTSampler but got {type(sampler).__name__}. "
            "Pass the one that breeds the population as `sampler`, or `min_offspring=0` to do "
            "without."
        )
    breeding.expected_offspring()  # so that unknown odds are an error at the first report
    return breeding
