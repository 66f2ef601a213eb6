"""Stop criteria: a fitness reached, and generations without progress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import optuna
import pytest

from epbt_optuna import EPBTSampler, StopAtFitness, StopWithoutProgress
from epbt_optuna._internal.optuna import storage_of
from epbt_optuna.parallel import optimize
from tests.constraints import set_constraint


def study_of(direction: Literal["maximize", "minimize"] = "maximize") -> optuna.Study:
    return optuna.create_study(direction=direction, sampler=EPBTSampler(4, n_elites=2, seed=0))


def run(study: optuna.Study, values: Sequence[float], callback: object, n_trials: int = 50) -> int:
    """Return how many trials ran; the last value goes on for ever."""

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("x", 0, 1)
        return values[min(trial.number, len(values) - 1)]

    study.optimize(objective, n_trials, callbacks=[callback])  # type: ignore[list-item]
    return len(study.trials)


@pytest.mark.parametrize(
    ("direction", "values", "n"),
    [
        ("maximize", [0.1, 0.4, 0.9, 0.2], 3),
        ("maximize", [0.1, 0.4, float("inf"), 0.2], 3),
        ("minimize", [0.9, 0.8, 0.5, 0.3], 3),
        ("maximize", [0.4], 10),
    ],
)
def test_a_fitness_that_is_reached_stops_the_study(
    direction: Literal["maximize", "minimize"], values: list[float], n: int
) -> None:
    assert run(study_of(direction), values, StopAtFitness(0.5), n_trials=10) == n


def test_a_fitness_reached_by_violating_a_constraint_does_not_count() -> None:
    def objective(trial: optuna.Trial) -> float:
        set_constraint(trial, "size", 1.0 if trial.number < 5 else 0.0)
        return 1.0

    study = study_of()
    study.optimize(objective, 20, callbacks=[StopAtFitness(0.5)])
    assert len(study.trials) == 6


def test_failed_and_pruned_trials_reach_no_fitness() -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.report(1.0, 0)
        if trial.number % 2:
            raise optuna.TrialPruned
        return float("nan")

    study = study_of()
    study.optimize(objective, 8, callbacks=[StopAtFitness(0.5), StopWithoutProgress(1)])
    assert len(study.trials) == 8


# Generations of the studies here: trials 0 to 3, 4 and 5, 6 and 7, …


@pytest.mark.parametrize(
    ("values", "n_generations", "n"),
    [
        ([1, 0], 1, 6),  # generation 0 has the best
        ([1, 0], 2, 8),
        ([0, 0, 0, 0, 0, 1, 0], 2, 10),  # generation 1 has
        ([0] * 4 + [1, 2, 3, 4, 5, 6, 0], 1, 12),  # each has, up to the fourth
    ],
)
def test_generations_without_progress_stop_the_study(
    values: list[float], n_generations: int, n: int
) -> None:
    assert run(study_of(), values, StopWithoutProgress(n_generations)) == n
    negative = [-value for value in values]
    assert run(study_of("minimize"), negative, StopWithoutProgress(n_generations)) == n


def test_less_than_the_least_improvement_is_no_progress() -> None:
    creeping = [number / 100 for number in range(50)]  # 0.02 a generation
    assert run(study_of(), creeping, StopWithoutProgress(2, min_improvement=0.03)) == 50
    assert run(study_of(), creeping, StopWithoutProgress(2, min_improvement=0.05)) == 8


def test_a_resumed_run_remembers_how_long_nothing_got_better() -> None:
    study = study_of()
    assert run(study, [1, 0], StopWithoutProgress(3), n_trials=7) == 7
    assert run(study, [0], StopWithoutProgress(3)) == 10


@pytest.mark.parametrize("stop", [StopAtFitness(0.5), StopWithoutProgress(2)])
def test_what_has_stopped_a_study_is_known_to_the_next_run(
    stop: StopAtFitness | StopWithoutProgress,
) -> None:
    study = study_of()
    assert not stop.reached(study)
    for _ in range(30):
        study.enqueue_trial({"x": 0.0})
        assert not stop.reached(study)
        n = run(study, [0, 0, 0, 0, 0.4, 0.4, 0.4, 0.4, 0.4, 0.6, 0.6], stop, n_trials=1)
        if stop.reached(study):
            break
    assert n == (10 if isinstance(stop, StopAtFitness) else 14)
    one_run = study_of()
    assert run(one_run, [0, 0, 0, 0, 0.4, 0.4, 0.4, 0.4, 0.4, 0.6, 0.6], stop) == n


def test_parallel_workers_stop_where_one_does() -> None:
    study = study_of()

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("x", 0, 1)
        return float(trial.number == 3)

    stop = StopWithoutProgress(2)
    optimize(study, objective, n_trials=30, workers=2, engine="thread", callbacks=[stop])
    assert len(study.trials) == 8


@pytest.mark.parametrize("stop", [StopAtFitness(0.5), StopWithoutProgress(2)])
def test_a_worker_stops_for_what_another_one_has_told(
    stop: StopAtFitness | StopWithoutProgress,
) -> None:
    study = study_of()
    other = optuna.load_study(
        study_name=study.study_name, storage=storage_of(study), sampler=study.sampler
    )

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("x", 0, 1)
        if trial.number == 4:  # meanwhile
            other.optimize(lambda trial: float(trial.number == 5), n_trials=5, callbacks=[stop])
        return 0.0

    study.optimize(objective, n_trials=30, callbacks=[stop])
    assert len(study.trials) == (6 if isinstance(stop, StopAtFitness) else 11)


def test_a_study_without_generations_has_no_progress_to_look_at() -> None:
    study = optuna.create_study()
    with pytest.raises(ValueError, match="has no generations"):
        study.optimize(lambda _: 0.0, 3, callbacks=[StopWithoutProgress(2)])


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: StopAtFitness(float("nan")), "`value` must be finite"),
        (lambda: StopAtFitness("0.5"), "`value` must be a number"),  # type: ignore[arg-type]
        (lambda: StopWithoutProgress(0), "`n_generations` must be at least 1"),
        (lambda: StopWithoutProgress(2, -1), "`min_improvement` must be at least 0"),
    ],
)
def test_settings_are_checked_when_given(make: type, error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        make()
