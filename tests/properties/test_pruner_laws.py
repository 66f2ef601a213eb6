"""Laws of the pruner, over generations with every kind of sibling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import optuna
from hypothesis import given
from hypothesis import strategies as st
from optuna.samplers import RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import EPBTPruner, EPBTSampler, PBTSampler, TournamentSelection

AnySampler = EPBTSampler | PBTSampler
N_REPORTS = 3


@dataclass(frozen=True)
class Play:
    """What a trial reports, and how it ends."""

    reports: Sequence[float]
    state: TrialState = TrialState.COMPLETE

    @property
    def trial(self) -> FrozenTrial:
        return optuna.create_trial(
            state=self.state,
            value=self.reports[-1] if self.state == TrialState.COMPLETE else None,
            intermediate_values=dict(enumerate(self.reports)),
        )


@dataclass(frozen=True)
class Situation:
    """Trials in the order of their numbers, and the reports of the one after them.

    All values are small whole numbers, so that there are ties and sums are exact.
    """

    sampler: AnySampler
    plays: Sequence[Play]
    own: Sequence[float]
    direction: StudyDirection = StudyDirection.MAXIMIZE

    def is_pruned(self, options: Mapping[str, Any]) -> bool:
        # Who is parent of whom does not matter here, so nobody breeds.
        study = optuna.create_study(direction=self.direction, sampler=RandomSampler(seed=0))
        plays = [*self.plays, Play(self.own, TrialState.RUNNING)]
        study.add_trials(play.trial for play in plays)
        pruner = EPBTPruner(sampler=self.sampler, **options)
        return pruner.prune(study, study.trials[-1])

    def mapped(self, scale: float, shift: float, direction: StudyDirection) -> Situation:
        """The same in another unit of fitness."""

        def change(values: Sequence[float]) -> list[float]:
            return [scale * value + shift for value in values]

        plays = [replace(play, reports=change(play.reports)) for play in self.plays]
        return Situation(self.sampler, plays, change(self.own), direction)


@cache  # to make a strategy takes longer than to draw from it
def samplers() -> st.SearchStrategy[AnySampler]:
    @st.composite
    def epbt_samplers(draw: st.DrawFn) -> EPBTSampler:
        size = draw(st.integers(2, 6))
        n_elites = draw(st.integers(0, size - 1))
        selection = TournamentSelection(draw(st.integers(1, size)))
        return EPBTSampler(size, n_elites=n_elites, selection=selection, seed=0)

    return epbt_samplers() | st.builds(PBTSampler, st.integers(2, 6), seed=st.just(0))


@cache
def reports(low: int = -4) -> st.SearchStrategy[list[float]]:
    """All that a trial reports; many are steady, so that a lead can be certain."""
    value = st.integers(low, 4).map(float)
    steady = value.map(lambda reported: [reported] * N_REPORTS)
    return steady | steady | st.lists(value, min_size=N_REPORTS, max_size=N_REPORTS)


@cache
def plays() -> st.SearchStrategy[Play]:
    lost = st.sampled_from([TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING])
    finished = st.builds(Play, reports())
    cut_off = st.builds(
        lambda values, n, state: Play(values[:n], state), reports(), st.integers(1, 3), lost
    )
    return finished | finished | finished | cut_off


@st.composite
def situations(draw: st.DrawFn, max_generation: int = 1) -> Situation:
    """A trial after at least one report, anywhere in the first generations."""
    sampler = draw(samplers())
    generation = draw(st.integers(0, max_generation))
    n_trials = draw(st.sampled_from(sampler.trial_numbers(generation)))
    before = [draw(plays()) for _ in range(n_trials)]
    own = draw(reports(low=-8))[: draw(st.integers(1, N_REPORTS - 1))]
    return Situation(sampler, before, own)


def options() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "min_offspring": st.sampled_from([0.1, 0.3, 0.5, 0.9, 1.0]),
            "n_warmup_steps": st.integers(0, 1),
            "n_min_trials": st.integers(1, 3),
            "min_survivors": st.integers(1, 3),
        }
    )


@given(situations(), options(), st.integers(1, 4))
def test_where_a_value_is_pruned_a_worse_one_is_too(
    situation: Situation, options: Mapping[str, Any], loss: int
) -> None:
    *before, last = situation.own
    worse = replace(situation, own=[*before, last - loss])
    assert situation.is_pruned(options) <= worse.is_pruned(options)


@given(situations(max_generation=0), options())
def test_the_best_of_a_generation_at_a_report_is_never_pruned(
    situation: Situation, options: Mapping[str, Any]
) -> None:
    n = len(situation.own)
    others = [play.reports[n - 1] for play in situation.plays if len(play.reports) >= n]
    own = [*situation.own[:-1], max([situation.own[-1], *others])]
    assert not replace(situation, own=own).is_pruned(options)


@given(situations(), options())
def test_who_leads_by_more_than_training_can_change_is_never_pruned(
    situation: Situation, options: Mapping[str, Any]
) -> None:
    assert not replace(situation, own=[*situation.own[:-1], 99.0]).is_pruned(options)


@given(
    situations(),
    options(),
    st.sampled_from([0.25, 1.0, 8.0]),
    st.sampled_from([-64.0, 0.0, 0.5]),
    st.sampled_from([StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]),
)
def test_neither_the_unit_of_fitness_nor_the_direction_matters(
    situation: Situation,
    options: Mapping[str, Any],
    scale: float,
    shift: float,
    direction: StudyDirection,
) -> None:
    sign = 1 if direction == StudyDirection.MAXIMIZE else -1
    other = situation.mapped(sign * scale, shift, direction)
    assert other.is_pruned(options) == situation.is_pruned(options)


@given(situations(), options(), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_what_is_not_finite_is_pruned_whatever_the_situation(
    situation: Situation, options: Mapping[str, Any], value: float
) -> None:
    assert replace(situation, own=[*situation.own, value]).is_pruned(options)


@given(situations(), st.integers(1, 5))
def test_the_least_number_of_survivors_is_left_to_breed(
    situation: Situation, min_survivors: int
) -> None:
    options = {"min_offspring": 1, "n_min_trials": 1, "min_survivors": min_survivors}
    if not situation.is_pruned(options):
        return
    sampler, number = situation.sampler, len(situation.plays)
    own = sampler.trial_numbers(sampler.generation_of(number))
    lost = (TrialState.PRUNED, TrialState.FAIL)
    n_lost = sum(situation.plays[n].state in lost for n in own if n < number)
    assert len(own) - n_lost - 1 >= min_survivors


@given(samplers(), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_no_generation_is_left_without_its_survivors(
    sampler: AnySampler, min_survivors: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)

    def objective(trial: optuna.Trial) -> float:
        values = rng.normal(size=N_REPORTS)
        for step, value in enumerate(values):
            trial.report(value, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(values[-1])

    pruner = EPBTPruner(min_offspring=1, n_min_trials=1, min_survivors=min_survivors)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    study.optimize(objective, n_trials=sampler.n_trials(3))
    for generation in range(3):
        numbers = sampler.trial_numbers(generation)
        states = [study.trials[number].state for number in numbers]
        assert states.count(TrialState.COMPLETE) >= min(min_survivors, len(numbers))
