"""What samplers refuse: another arithmetic in mid-study, and settings that cannot be."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from epbt_optuna import EPBTSampler, PBTSampler, TournamentSelection
from tests.replay import lineage_of
from tests.samplers.studies import (
    AnySampler,
    both_samplers,
    bred,
    eventful,
    evolve,
    plain,
    still,
    xy,
)

# One arithmetic a study


@pytest.mark.parametrize(
    ("sampler", "has"),
    [
        (EPBTSampler(6), "6 and 3"),
        (EPBTSampler(4, n_elites=1), "4 and 1"),
        (PBTSampler(4), "4 and 0"),
    ],
)
def test_a_study_cannot_go_on_with_generations_of_another_size(
    sampler: AnySampler, has: str
) -> None:
    study = evolve(EPBTSampler(4, seed=0), 6)
    study.sampler = sampler
    message = f"begun with a population_size of 4 and 2 elites.* but the sampler has {has}"
    with pytest.raises(ValueError, match=message):
        study.optimize(plain, n_trials=1)


def test_a_study_can_go_on_with_other_operators() -> None:
    study = evolve(EPBTSampler(4, seed=0), 6)
    study.sampler = still(population_size=4, n_elites=2, seed=1)
    study.optimize(plain, n_trials=2)
    assert all(trial.params == parent.params for trial, parent in bred(study)[2:])


# Bad input


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: EPBTSampler(1), ValueError, "`population_size` must be at least 2 but got 1."),
        (lambda: PBTSampler(1), ValueError, "`population_size` must be at least 2 but got 1."),
        (
            lambda: EPBTSampler(8.0),  # type: ignore[arg-type]
            TypeError,
            "`population_size` must be an integer but got 8.0.",
        ),
        (
            lambda: PBTSampler(True),
            TypeError,
            "`population_size` must be an integer but got True.",
        ),
        (
            lambda: EPBTSampler(8, n_elites=8),
            ValueError,
            "`n_elites` must be at most 7 but got 8.",
        ),
        (
            lambda: EPBTSampler(8, n_elites=-1),
            ValueError,
            "`n_elites` must be at least 0 but got -1.",
        ),
        (
            lambda: EPBTSampler(8, n_elites=0.5),  # type: ignore[arg-type]
            TypeError,
            "`n_elites` must be an integer but got 0.5.",
        ),
        (
            lambda: EPBTSampler(8, selection=TournamentSelection(9)),
            ValueError,
            "`selection.size` must be at most `population_size` (8) but got 9.",
        ),
        (
            lambda: PBTSampler(8, exploit_fraction=0.75),
            ValueError,
            "`exploit_fraction` must be in (0, 0.5] but got 0.75.",
        ),
        (lambda: EPBTSampler(seed=-1), ValueError, "`seed` must be at least 0 but got -1."),
        (
            lambda: PBTSampler(seed=1.5),  # type: ignore[arg-type]
            TypeError,
            "`seed` must be an integer but got 1.5.",
        ),
        (lambda: EPBTSampler(seed=False), TypeError, "`seed` must be an integer but got False."),
        (
            lambda: EPBTSampler().n_trials(0),
            ValueError,
            "`n_generations` must be at least 1 but got 0.",
        ),
        (
            lambda: EPBTSampler().n_trials(2.0),  # type: ignore[arg-type]
            TypeError,
            "`n_generations` must be an integer but got 2.0.",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name_rule_and_value(
    make: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        make()


@both_samplers
def test_two_objectives_are_refused_by_the_name_of_the_sampler(
    sampler_class: type[AnySampler],
) -> None:
    study = optuna.create_study(directions=["maximize"] * 2, sampler=sampler_class())
    message = f"{sampler_class.__name__} is for studies with one objective but this one has 2"
    with pytest.raises(ValueError, match=message):
        study.optimize(lambda trial: (trial.number, 0.0), n_trials=1)


def test_a_retry_whose_record_is_damaged_is_said_and_bred_like_any_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    study = evolve(EPBTSampler(2, seed=0), 2, xy)
    record = {**study.trials[1].system_attrs["epbt:lineage"], "parent": 77}
    attrs = {"epbt:lineage": record, "failed_trial": 1}
    study.add_trial(optuna.create_trial(state=TrialState.WAITING, system_attrs=attrs))
    study.optimize(xy, n_trials=1)
    assert (lineage_of(study.trials[2]) or {})["parent"] in (0, 1)
    assert "Trial 2 has an attr 'epbt:lineage' that cannot be read: its parent" in caplog.text


def test_nothing_here_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evolve(EPBTSampler(4, seed=0), 12, eventful)
