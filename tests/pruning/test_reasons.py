"""Reports that are not finite, and the reasons that are logged."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from epbt_optuna import EPBTPruner, EPBTSampler, PBTSampler
from tests.pruning.generations import (
    INF,
    NAN,
    AnySampler,
    Direction,
    both_directions,
    founders,
    is_pruned,
    new_study,
    play,
)

LOGGER = "optuna.epbt_optuna.pruning"


@pytest.fixture
def log() -> Iterator[list[str]]:
    """What the pruner logs."""
    messages: list[str] = []

    class Collecting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger, handler = logging.getLogger(LOGGER), Collecting()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield messages
    logger.setLevel(logging.NOTSET)
    logger.removeHandler(handler)


# Divergence


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@both_directions
@pytest.mark.parametrize("sampler", [EPBTSampler(4, seed=0), PBTSampler(4, seed=0)])
def test_a_report_that_is_not_finite_is_a_reason_from_the_first_trial_on(
    sampler: AnySampler, direction: Direction, value: float
) -> None:
    pruner = EPBTPruner(n_warmup_steps=9, min_survivors=99)
    study = new_study(sampler, pruner, direction)
    assert is_pruned(study, value)
    assert is_pruned(study, 1.0, value)
    assert not is_pruned(study, value, 1.0)  # it has recovered


def test_reports_that_are_not_finite_can_be_let_pass() -> None:
    pruner = EPBTPruner(prune_non_finite=False, min_offspring=0)
    assert not is_pruned(new_study(EPBTSampler(4, seed=0), pruner), NAN)


@both_directions
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_where_they_are_they_are_compared_like_others_and_nan_is_the_least_fit(
    direction: Direction, value: float
) -> None:
    sign = 1 if direction == "maximize" else -1
    pruner = EPBTPruner(prune_non_finite=False)
    study = new_study(EPBTSampler(20, seed=0), pruner, direction)
    founders(study, 19, sign=sign)
    assert is_pruned(study, value) == (value != sign * INF)


def test_divergence_can_be_the_only_reason_and_then_any_sampler_will_do() -> None:
    study = new_study(RandomSampler(seed=0), EPBTPruner(min_offspring=0))
    founders(study, 19)
    assert not is_pruned(study, 0.5)
    assert is_pruned(study, NAN)


# Reasons are logged


def test_the_reason_is_logged_once_where_optuna_logs(
    log: list[str],
) -> None:
    study = new_study(EPBTSampler(20, seed=0))
    founders(study, 18)
    assert not is_pruned(study, 18.5)
    assert log == []
    assert is_pruned(study, NAN)
    study.tell(18, 18.5)
    study.tell(19, state=TrialState.PRUNED)
    for _ in range(9):
        play(study, [30.0, 30.0])
    assert is_pruned(study, 0.5)
    assert log == [
        "Trial 19 has no use for further training: it reported nan.",
        "Trial 29 has no use for further training: after report 1 it can expect 0 offspring, "
        "less than 0.4.",
    ]
    assert LOGGER.startswith("optuna.")
