"""Elites that go on training and smoothed fitness, as the pruner sees them."""

from __future__ import annotations

import pytest

from epbt_optuna import EPBTSampler, ask_generation
from tests.pruning.generations import (
    Direction,
    both_directions,
    founders,
    is_pruned,
    new_study,
    play,
)
from tests.replay import lineage_of


@pytest.mark.parametrize(
    ("train_elites", "report", "expected"),
    [(False, 0.5, True), (True, 0.5, False), (True, 0.4, True)],
)
def test_an_elite_that_goes_on_training_counts_with_its_reports_and_not_with_what_it_was(
    train_elites: bool, report: float, expected: bool
) -> None:
    sampler = EPBTSampler(20, n_elites=16, train_elites=train_elites, seed=0)
    study = new_study(sampler)
    founders(study, 20)  # the elites are 5 to 20
    for _ in sampler.trial_numbers(1)[1:]:
        play(study, [0.5] * 2)
    assert is_pruned(study, report) == expected


@both_directions
@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_a_report_counts_together_with_what_the_parent_is_worth(
    direction: Direction, smoothing: float
) -> None:
    sign = 1 if direction == "maximize" else -1
    sampler = EPBTSampler(20, n_elites=0, fitness_smoothing=smoothing, seed=0)
    study = new_study(sampler, direction=direction)
    founders(study, 20, sign=sign)
    trials = ask_generation(study)
    for trial in trials:
        trial.report(sign * 5.0, 0)
    records = [lineage_of(study.trials[trial.number]) for trial in trials]
    worth = [sign * study.trials[record["parent"]].values[0] for record in records if record]
    for trial, own in zip(trials, worth, strict=True):
        n_fitter = sum(other > own for other in worth) if smoothing else 0
        assert trial.should_prune() == (n_fitter >= 16)  # rank 17 of 20 expects 6/19
