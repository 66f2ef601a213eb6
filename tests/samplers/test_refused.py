"""A study that its sampler cannot go on with is refused, and no trial is left running."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import BaseSampler, PartialFixedSampler, RandomSampler
from optuna.trial import TrialState

from epbt_optuna import EPBTSampler, PBTSampler, ask_generation, parallel
from epbt_optuna._internal.optuna import storage_of, study_id_of
from epbt_optuna.lineage import ReplaySampler, Schedule
from tests.samplers.studies import evolve, experimental, one_float

pytestmark = experimental


def begun() -> optuna.Study:
    return evolve(EPBTSampler(4, seed=0), 6, one_float)


def replay() -> ReplaySampler:
    return ReplaySampler(Schedule.from_study(begun()))


def damaged(key: str, value: Any) -> Callable[[], optuna.Study]:
    def make() -> optuna.Study:
        study = begun()
        storage_of(study).set_study_system_attr(study_id_of(study), key, value)
        return study

    return make


def of_two_objectives() -> optuna.Study:
    return optuna.create_study(directions=["maximize"] * 2)


def replayed() -> optuna.Study:
    return evolve(replay(), 1, one_float)


REFUSED = pytest.mark.parametrize(
    ("make", "sampler", "message"),
    [
        (begun, lambda: EPBTSampler(6), "population_size of 4 and 2 elites.* has 6 and 3"),
        (begun, lambda: EPBTSampler(4, n_elites=1), "population_size of 4 .* has 4 and 1"),
        (begun, lambda: PBTSampler(4), "population_size of 4 and 2 elites.* has 4 and 0"),
        (begun, lambda: PartialFixedSampler({}, PBTSampler(4)), "population_size of 4 and 2"),
        (begun, replay, "begun with another sampler of epbt_optuna"),
        (replayed, lambda: EPBTSampler(4), "population_size of 1 and 0 elites"),
        (of_two_objectives, lambda: EPBTSampler(4), "EPBTSampler is for studies with one"),
        (of_two_objectives, lambda: PBTSampler(4), "PBTSampler is for studies with one"),
        (of_two_objectives, replay, "ReplaySampler is for studies with one objective"),
        (
            damaged("epbt:generations", {"population_size": "4", "n_elites": 2}),
            lambda: EPBTSampler(4),
            "attr 'epbt:generations' that cannot be read: `population_size` must be of type int",
        ),
        (
            damaged("epbt:study:0123", {"id": None}),
            lambda: EPBTSampler(4),
            "attr 'epbt:study:0123' that cannot be read",
        ),
    ],
)  # fmt: skip


@REFUSED
def test_optimize_fails_the_trial_that_it_has_made_with_the_reason(
    make: Callable[[], optuna.Study], sampler: Callable[[], BaseSampler], message: str
) -> None:
    study = make()
    n_before = len(study.trials)
    study.sampler = sampler()
    with pytest.raises(ValueError, match=message):
        study.optimize(one_float, n_trials=2)
    (refused,) = study.trials[n_before:]
    assert refused.state == TrialState.FAIL
    assert refused.system_attrs["epbt:error"].startswith(("ValueError: ", "AttrError: "))
    with pytest.raises(ValueError, match=message):
        raise ValueError(refused.system_attrs["epbt:error"])


@REFUSED
def test_parallel_optimize_refuses_before_it_asks(
    make: Callable[[], optuna.Study], sampler: Callable[[], BaseSampler], message: str
) -> None:
    study = make()
    n_before = len(study.trials)
    study.sampler = sampler()
    with pytest.raises(ValueError, match=message):
        parallel.optimize(study, one_float, n_trials=2, workers=1, engine="thread")
    assert len(study.trials) == n_before


@REFUSED
def test_ask_generation_refuses_before_it_asks(
    make: Callable[[], optuna.Study], sampler: Callable[[], BaseSampler], message: str
) -> None:
    study = make()
    n_before = len(study.trials)
    study.sampler = sampler()
    if isinstance(study.sampler, ReplaySampler):
        message = "must be an EPBTSampler or a PBTSampler but got ReplaySampler"
    with pytest.raises((TypeError, ValueError), match=message):
        ask_generation(study)
    assert len(study.trials) == n_before


@pytest.mark.parametrize(
    "read",
    [
        lambda sampler, study: sampler.get_population(study, 1),
        lambda sampler, study: sampler.get_parent_population(study, 1),
        lambda sampler, study: sampler.get_individuals(study, 1),
        lambda sampler, study: sampler.fittest(study),
        lambda sampler, study: sampler.n_trials(3, study),
    ],
)
@pytest.mark.parametrize(
    "other", [EPBTSampler(6), EPBTSampler(4, n_elites=1), EPBTSampler(4, train_elites=True)]
)
def test_a_sampler_with_other_generations_reads_no_population_of_a_study(
    other: EPBTSampler, read: Callable[[EPBTSampler, optuna.Study], Any]
) -> None:
    study = optuna.create_study(sampler=EPBTSampler(4, seed=0))
    study.optimize(one_float, n_trials=8)
    with pytest.raises(ValueError, match="was begun with a population_size of 4 and 2 elites"):
        read(other, study)


def test_a_study_goes_on_after_it_was_refused() -> None:
    study = begun()
    study.sampler = EPBTSampler(6)
    with pytest.raises(ValueError, match="begun with"):
        study.optimize(one_float, n_trials=1)
    study.sampler = EPBTSampler(4, seed=0)
    study.optimize(one_float, n_trials=3)
    states = [trial.state.name for trial in study.trials]
    assert states == [*["COMPLETE"] * 6, "FAIL", *["COMPLETE"] * 3]


def test_pbt_goes_on_with_what_epbt_without_elites_began() -> None:
    study = evolve(EPBTSampler(4, n_elites=0, seed=0), 4, one_float)
    study.sampler = PBTSampler(4, seed=0)
    study.optimize(one_float, n_trials=4)
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}


@pytest.mark.parametrize("error", [KeyError("lost"), KeyboardInterrupt()])
def test_whatever_is_raised_at_ask_leaves_no_trial_running(error: BaseException) -> None:
    class Raising(RandomSampler):
        def before_trial(self, *_: Any) -> None:
            raise error

    study = optuna.create_study(sampler=EPBTSampler(4, initial_sampler=Raising()))
    with pytest.raises(type(error)):
        study.ask()
    (trial,) = study.trials
    assert trial.state == TrialState.FAIL


def test_a_storage_that_is_gone_is_what_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(sampler=EPBTSampler(4), storage=storage)

    def gone(*_: object, **__: object) -> None:
        raise OSError("The disk is gone.")

    monkeypatch.setattr(storage, "set_trial_system_attr", gone)
    monkeypatch.setattr(storage, "set_trial_state_values", gone)
    with pytest.raises(OSError, match="The disk is gone"):
        study.ask()
