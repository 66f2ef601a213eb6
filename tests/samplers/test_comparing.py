"""A study that prunes with a pruner which compares trials of all ages is told so, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
    WilcoxonPruner,
)

from epbt_optuna import EPBTPruner, EPBTSampler
from epbt_optuna.samplers import GenerationSampler
from tests.samplers.studies import both_samplers, experimental


def run(sampler: GenerationSampler, pruner: BasePruner | None, prunes: bool = True) -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        trial.report(x, 0)
        if prunes and trial.number in (1, 3):
            raise optuna.TrialPruned
        return x

    study = optuna.create_study(sampler=sampler, pruner=pruner)
    study.optimize(objective, n_trials=8)


@both_samplers
def test_optunas_default_is_named_at_the_first_pruned_trial_with_what_to_pass(
    sampler_class: Any, caplog: pytest.LogCaptureFixture
) -> None:
    run(sampler_class(4, seed=0), None)
    [line] = caplog.messages
    assert line.startswith("Trial 1 was pruned. MedianPruner, the study's pruner, compares trials")
    assert "`pruner=EPBTPruner()`" in line


@pytest.mark.parametrize(
    "pruner",
    [
        SuccessiveHalvingPruner,
        HyperbandPruner,
        WilcoxonPruner,
        lambda: PatientPruner(MedianPruner(), patience=0),
    ],
)
@experimental
@both_samplers
def test_so_are_the_others_that_compare_steps(
    pruner: Callable[[], BasePruner], sampler_class: Any, caplog: pytest.LogCaptureFixture
) -> None:
    run(sampler_class(4, seed=0), pruner())
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    "pruner",
    [
        EPBTPruner,
        NopPruner,
        lambda: ThresholdPruner(upper=2.0),
        lambda: PatientPruner(EPBTPruner(), patience=0),
        lambda: PatientPruner(None, patience=0),
    ],
)
@experimental
@both_samplers
def test_nothing_is_said_of_pruners_that_compare_no_steps(
    pruner: Callable[[], BasePruner], sampler_class: Any, caplog: pytest.LogCaptureFixture
) -> None:
    run(sampler_class(4, seed=0), pruner())
    assert not caplog.messages


def test_nothing_is_said_where_nobody_is_pruned(caplog: pytest.LogCaptureFixture) -> None:
    run(EPBTSampler(4, seed=0), MedianPruner(), prunes=False)
    assert not caplog.messages


def test_nothing_is_said_of_a_trial_that_has_reported_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    study = optuna.create_study(sampler=EPBTSampler(4, seed=0))
    study.tell(study.ask(), state=optuna.trial.TrialState.PRUNED)
    assert not caplog.messages
