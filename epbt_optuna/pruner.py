"""The pruner: stops individuals that have diverged, or that nobody will descend from.

A pruner of ordinary trials asks whether a trial can still win. In a population that is the wrong
question, because whoever is not the best breeds as well; here it is how many offspring a trial
can expect, which the sampler's own selection decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import optuna
from optuna import Study
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._checks import check_integer, check_number
from epbt_optuna._generation_sampler import GenerationSampler
from epbt_optuna._optuna import read_trial

__all__ = ["EPBTPruner"]

_LOST = (TrialState.PRUNED, TrialState.FAIL)

# A child of Optuna's logger: a reason appears beside Optuna's own "Trial 7 pruned."
_logger = optuna.logging.get_logger(f"optuna.{__name__}")


class EPBTPruner(BasePruner):
    """Stops an individual for one of two reasons: it has diverged, or it has no future.

    **Diverged**: the value just reported is not finite.

    **No future**: the number of offspring that it can expect to leave, itself counted where it
    would survive as an elite, is below `min_offspring`. The mean over a population is 1, for
    both samplers. An individual is compared within its generation only, as it stands after this
    many reports: siblings differ in the age of their weights, so steps are counted from the
    beginning of each trial.

    1. Siblings are compared with by the values they had reported by then, whatever became of
       them since. One that was pruned or failed earlier is less fit.
    2. The k elites of the last population, which it must beat as well, are compared with by
       their fitness, less what training from this report to the end brings: the median gain of
       the siblings that have finished, or of the elites while none has. They are not compared
       with by what they had reported themselves: their weights were a generation younger then.
    3. Of siblings that have not come so far, any number may turn out to be fitter. After a of m
       siblings were, j of u others are with probability C(a + j, j) · C(m − a + u − j, u − j) /
       C(m + u + 1, u): all orders of equals are equally likely.
    4. The sampler says what each rank leaves. With `EPBTSampler` and tournaments of t, rank r of
       p expects (p − k) · C(p − r, t − 1) / C(p, t) offspring, and itself if r ≤ k. With
       `PBTSampler` the worst quarter is replaced, and expects nothing.

    Ranks are those of the population as if nobody were pruned, so pruning does not feed on
    itself: what is pruned would have had less than `min_offspring` in the unpruned run.

    Infeasible siblings and elites count as less fit; the constraints of the individual itself
    are not looked at. Equals count as less fit too. The latest value decides, not the best:
    report what the objective will return, and wrap this pruner in
    `optuna.pruners.PatientPruner` where reports are noisy.

    With one worker, or with `ask_generation`, decisions depend on the seed alone. With several
    they depend on how far siblings have come, and workers that prune at the same moment may
    leave fewer than `min_survivors`, by one for each further worker.

    Args:
        min_offspring: Expected offspring below which an individual is pruned, in [0, 1]; 0 never
            prunes for that reason, and then any sampler will do. Default: 0.25, with the paper's
            p = 40, k = 20 and t = 2 the ranks 31 to 40; with `PBTSampler` the worst quarter.
        prune_non_finite: Whether a report of NaN or ±infinity is a reason, at any time.
        n_warmup_steps: Reports that an individual may make before it can lack a future.
        n_min_trials: Siblings that must have reported as often, at least 1, before an individual
            can lack a future. Lower it where a generation has only a few trials.
        min_survivors: Trials of a generation that must be left to breed for another to be pruned
            for want of a future, at least 1. Default: a parent and a mate.
        sampler: The `EPBTSampler` or `PBTSampler` whose population this is. Default: the
            study's. Needed where that one is wrapped, as in
            `optuna.samplers.PartialFixedSampler`, or where the study was loaded without it.

    Raises:
        TypeError: A number is of the wrong type, or `sampler` is another one. When used: the
            study's sampler is another one, or has a selection of the user's own without
            `win_probabilities` (see `epbt_optuna.operators.SelectionOdds`).
        ValueError: A number is out of its range.

    Example:
        ```python
        import optuna
        from epbt_optuna import EPBTPruner, EPBTSampler


        def objective(trial):
            x = trial.suggest_float("x", -10, 10)
            for epoch in range(8):
                trial.report(epoch - abs(x), epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned
            return epoch - abs(x)


        sampler = EPBTSampler(population_size=8, seed=0)
        study = optuna.create_study(direction="maximize", sampler=sampler, pruner=EPBTPruner())
        study.optimize(objective, n_trials=sampler.n_trials(5))
        ```
    """

    def __init__(
        self,
        *,
        min_offspring: float = 0.25,
        prune_non_finite: bool = True,
        n_warmup_steps: int = 1,
        n_min_trials: int = 5,
        min_survivors: int = 2,
        sampler: BaseSampler | None = None,
    ) -> None:
        check_number("min_offspring", min_offspring, at_least=0)
        if min_offspring > 1:
            raise ValueError(f"`min_offspring` must be at most 1 but got {min_offspring}.")
        check_integer("n_warmup_steps", n_warmup_steps, at_least=0)
        check_integer("n_min_trials", n_min_trials, at_least=1)
        check_integer("min_survivors", min_survivors, at_least=1)
        self._min_offspring = min_offspring
        self._prune_non_finite = prune_non_finite
        self._n_warmup_steps = n_warmup_steps
        self._n_min_trials = n_min_trials
        self._min_survivors = min_survivors
        self._sampler = None if sampler is None else _require_ours("sampler", sampler)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether the trial shall stop; Optuna calls this in `trial.should_prune()`.

        Args:
            study: The study.
            trial: One of its trials, with what it has reported.
        """
        reason = self._divergence(trial) or self._lack_of_future(study, trial)
        if reason is not None:
            _logger.info(f"Trial {trial.number} is to be pruned: {reason}.")
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
        n_reports = len(trial.intermediate_values)
        if n_reports <= self._n_warmup_steps:
            return None
        generation = sampler.generation_of(trial.number)
        others = [n for n in sampler.trial_numbers(generation) if n != trial.number]
        siblings = [sibling for n in others if (sibling := read_trial(study, n)) is not None]
        n_lost = sum(s.state in _LOST for s in siblings)
        n_comparable = sum(len(s.intermediate_values) >= n_reports for s in siblings)
        if len(others) - n_lost < self._min_survivors:
            return None
        elites = _elites(study, sampler, generation)
        standing = _standing(
            trial, siblings, len(others), elites, study.direction, self._n_min_trials
        )
        if standing is None:
            return None
        expected = standing.expect(sampler.expected_offspring(len(others) + 1 + len(elites)))
        if expected >= self._min_offspring or math.isclose(expected, self._min_offspring):
            return None
        return f"{expected:.3g} offspring to be expected are below {self._min_offspring:g}"


@dataclass(frozen=True)
class _Standing:
    """Where an individual stands after its latest report, in fitness: greater is fitter.

    Attributes:
        own: What it reported.
        siblings: What siblings had reported by then.
        n_unknown: Siblings that have not come so far.
        final: The fitness of those who are not trained any more, elites above all.
        gains: What training from here to the end brought others.
    """

    own: float
    siblings: list[float]
    n_unknown: int
    final: list[float]
    gains: list[float]

    def expect(self, offspring: Sequence[float]) -> float:
        """Return the expectation of what each rank leaves, over what is still to happen."""
        gains = np.sort(self.gains)
        n_final_fitter = np.array([sum(f > self.own + gain for f in self.final) for gain in gains])
        n_ranks = len(self.siblings) + self.n_unknown + 1
        left = np.asarray(offspring)[n_final_fitter[:, None] + np.arange(n_ranks)]
        n_fitter = self._n_known_fitter(gains) @ _all_fitter(len(self.siblings), self.n_unknown)
        return float((n_fitter * left).sum(axis=1).mean())

    def _n_known_fitter(self, gains):
        distribution = np.zeros((len(gains), len(self.siblings) + 1))
        distribution[:, 0] = 1
        for value in self.siblings:
            overtaken = np.searchsorted(gains, (self.own - value) + gains, side="right") / len(
                gains
            )
            fitter = (1 - overtaken)[:, None]
            distribution[:, 1:] = distribution[:, 1:] * (1 - fitter) + distribution[:, :-1] * fitter
            distribution[:, 0] *= overtaken
        return distribution


def _all_fitter(m, u):
    table = np.zeros((m + 1, m + u + 1))
    n_orders = math.comb(m + u + 1, u)
    for a in range(m + 1):
        for j in range(u + 1):
            table[a, a + j] = math.comb(a + j, j) * math.comb(m - a + u - j, u - j) / n_orders
    return table


def _standing(trial, siblings, n_siblings, elites, direction, n_min) -> _Standing:
    sign = 1 if direction == StudyDirection.MAXIMIZE else -1
    n_reports = len(trial.intermediate_values)
    finished = [s for s in siblings if s.state == TrialState.COMPLETE]
    gains = _gains(finished, n_reports, sign)
    if len(gains) < n_min:
        gains += _gains(elites, n_reports, sign)
    if len(gains) < n_min:
        return None
    vals = []
    fin = [_final(e, sign) for e in elites]
    for s in siblings:
        if len(s.intermediate_values) >= n_reports:
            vals.append(_reported(s, n_reports, sign))
        elif s.state in _LOST:
            vals.append(-1e300)
        elif s.state == TrialState.COMPLETE:
            fin.append(_final(s, sign))
    return _Standing(
        _reported(trial, n_reports, sign),
        vals,
        n_siblings - len(vals) - (len(fin) - len(elites)),
        fin,
        gains,
    )


def _elites(study: Study, sampler: GenerationSampler, generation: int) -> list[FrozenTrial]:
    """Return those of the last population that live on."""
    n_elites = sampler.n_elites
    return sampler.get_parent_population(study, generation)[:n_elites] if n_elites else []


def _gains(trials: Sequence[FrozenTrial], n_reports: int, sign: int) -> list[float]:
    """Return by how much each of these COMPLETE trials was fitter at its end."""
    gains = [
        sign * trial.values[0] - _reported(trial, n_reports, sign)
        for trial in trials
        if len(trial.intermediate_values) >= n_reports
    ]
    return [gain for gain in gains if math.isfinite(gain)]


def _final(trial, sign):
    return sign * trial.values[0]


def _reported(trial: FrozenTrial, n_reports: int, sign: int) -> float:
    """Return the fitness that was the last of `n_reports`; NaN is the least fit."""
    step = sorted(trial.intermediate_values)[n_reports - 1]
    value = trial.intermediate_values[step]
    return -math.inf if math.isnan(value) else sign * value


def _final_less(gain: float, trial: FrozenTrial, sign: int) -> float:
    """Return the fitness of a COMPLETE trial as it would be before that gain."""
    return -math.inf if _is_infeasible(trial) else sign * trial.values[0] - gain


def _is_infeasible(trial: FrozenTrial) -> bool:
    return any(violation > 0 for violation in trial.constraints.values())


def _require_ours(name: str, sampler: BaseSampler) -> GenerationSampler:
    if not isinstance(sampler, GenerationSampler):
        raise TypeError(
            f"`{name}` must be an EPBTSampler or a PBTSampler but got {type(sampler).__name__}. "
            "Pass the one that breeds the population as `sampler`, or `min_offspring=0` to do "
            "without."
        )
    sampler.expected_offspring()  # at the first report, not when the first comparison is due
    return sampler
