"""Threads as workers: they run the very trials that were asked, and samplers see what is new."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.samplers import GridSampler, QMCSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import EPBTSampler
from epbt_optuna.parallel import optimize
from tests.parallel.runs import quick


def run(study: optuna.Study, objective: Any, n_trials: int | None = None, **options: Any) -> None:
    optimize(study, objective, n_trials, **{"workers": 3, "engine": "thread", **options})


class Counting(RandomSampler):
    """Notes how many finished trials Optuna shows it when a trial samples, and looks when told."""

    def __init__(self) -> None:
        super().__init__(seed=0)
        self.finished: list[int] = []

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        self.finished.append(self._n_finished(study))
        return super().infer_relative_search_space(study, trial)

    def after_trial(self, study: optuna.Study, *_: Any) -> None:
        self._n_finished(study)

    def _n_finished(self, study: optuna.Study) -> int:
        # As Optuna's own samplers read: of the list that it keeps for the thread.
        trials = study._get_trials(deepcopy=False, use_cache=True)
        return sum(trial.state.is_finished() for trial in trials)


def test_a_sampler_sees_in_a_worker_thread_what_has_finished_before() -> None:
    sampler = Counting()
    run(optuna.create_study(sampler=sampler), quick, 5, workers=1)
    assert sampler.finished == [0, 1, 2, 3, 4]


def test_a_database_in_memory_that_each_thread_would_have_anew_is_refused() -> None:
    study = optuna.create_study(storage="sqlite:///:memory:")
    with pytest.raises(ValueError, match="`study` must have a storage that all threads see"):
        run(study, quick, 2)
    assert study.trials == []


def test_threads_run_the_very_trial_that_the_driver_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = optuna.create_study(sampler=EPBTSampler(4, seed=0))
    asked: list[optuna.Trial] = []
    ask = study.ask

    def note(*args: Any, **options: Any) -> optuna.Trial:
        asked.append(ask(*args, **options))
        return asked[-1]

    def objective(trial: optuna.Trial) -> float:
        assert any(trial is other for other in asked)
        return quick(trial)

    monkeypatch.setattr(study, "ask", note)
    run(study, objective, 5)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 5


# Samplers of others


def test_any_other_sampler_is_asked_once_a_trial() -> None:
    study = optuna.create_study(sampler=GridSampler({"x": [0.0, 0.25, 0.5, 0.75]}))
    run(study, lambda trial: trial.suggest_float("x", 0, 1), 4)
    assert sorted(trial.params["x"] for trial in study.trials) == [0.0, 0.25, 0.5, 0.75]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # QMCSampler
def test_an_initial_sampler_is_asked_once_a_founder() -> None:
    distribution = optuna.distributions.FloatDistribution(-1, 1)
    founders = []
    for workers in (1, 4):
        sampler = EPBTSampler(
            4,
            initial_sampler=QMCSampler(seed=0, warn_independent_sampling=False),
            search_space={"x": distribution},
            seed=0,
        )
        study = optuna.create_study(sampler=sampler)
        run(study, quick, n_generations=3, workers=workers)
        founders.append(sorted(trial.params["x"] for trial in study.trials[:4]))
    assert founders[0] == founders[1], "a point of the sequence was left out"
