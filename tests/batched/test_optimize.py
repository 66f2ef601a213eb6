"""optimize: batches asked, trained, told, and what ends a run."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import EPBTPruner, EPBTSampler, PBTSampler, ask_generation
from epbt_optuna.batched import Generation, optimize
from tests.batched.separate import RULES, history_of, make_study
from tests.constraints import set_constraint
from tests.replay import check_lineage

N_TRIALS = 6 + 2 * 3


def quick(generation: Generation) -> Any:
    return -generation.suggest_float("x", -1, 1).double().abs()


def states_of(study: optuna.Study) -> list[TrialState]:
    return [trial.state for trial in study.trials]


def suggestive(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -1, 1)
    n = trial.suggest_int("n", 1, 5) if trial.suggest_categorical("c", [True, False]) else 0
    return math.nan if trial.number % 7 == 3 else x + n


def suggestive_batch(generation: Generation) -> list[float]:
    generation.suggest_float("x", -1, 1)
    has_n = generation.suggest_categorical("c", [True, False])
    generation.suggest_int("n", 1, 5, where=has_n, otherwise=0)
    return [
        math.nan if t.number % 7 == 3 else t.params["x"] + t.params.get("n", 0)
        for t in generation.trials
    ]


@pytest.mark.parametrize(
    "make", [lambda: EPBTSampler(6, n_elites=3, seed=1), lambda: PBTSampler(6, seed=1)]
)
@pytest.mark.parametrize("max_batch", [None, 1, 2, 100])
def test_a_seed_gives_the_study_of_a_loop_and_of_ask_and_tell(
    make: Callable[[], EPBTSampler | PBTSampler], max_batch: int | None
) -> None:
    loop, asked, batched = (make_study(sampler=make()) for _ in range(3))
    n_trials = make().n_trials(4)
    loop.optimize(suggestive, n_trials=n_trials)
    while len(asked.trials) < n_trials:
        for trial in ask_generation(asked):
            value = suggestive(trial)
            state = TrialState.FAIL if math.isnan(value) else None
            asked.tell(trial, None if state else value, state)
    optimize(batched, suggestive_batch, n_generations=4, max_batch=max_batch)
    assert history_of(batched) == history_of(asked) == history_of(loop)


def test_a_batch_is_a_generation_and_max_batch_splits_it() -> None:
    sizes: list[tuple[int, list[int]]] = []

    def objective(generation: Generation) -> list[float]:
        sizes.append((generation.number, [trial.number for trial in generation.trials]))
        return [0.0] * len(generation)

    optimize(make_study(), objective, n_generations=2)
    assert sizes == [(0, [0, 1, 2, 3, 4, 5]), (1, [6, 7, 8])]
    sizes.clear()
    optimize(make_study(), objective, n_generations=2, max_batch=4)
    assert sizes == [(0, [0, 1, 2, 3]), (0, [4, 5]), (1, [6, 7, 8])]


def test_n_generations_counts_what_is_there_and_the_same_call_resumes() -> None:
    study = make_study()
    study.optimize(lambda trial: trial.suggest_float("x", -1, 1), n_trials=7)
    optimize(study, quick, n_generations=2)
    assert len(study.trials) == 9
    optimize(study, quick, n_generations=2)
    assert len(study.trials) == 9
    optimize(study, quick, n_generations=3)
    assert len(study.trials) == N_TRIALS
    check_lineage(study.trials, RULES)


@pytest.mark.parametrize("kind", [torch.tensor, np.array, list, tuple])
def test_values_are_a_tensor_an_array_or_a_list(kind: Any) -> None:
    study = make_study()
    optimize(study, lambda _: kind([0.0, 1.0, 2.0, 3.0, 4.0, 5.0]), n_generations=1)
    assert [trial.value for trial in study.trials] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("values", [None, 1.0, [0.0] * 5, torch.zeros(6, 1), ["a"] * 6])
def test_other_values_fail_the_batch_and_end_the_run(values: object) -> None:
    study = make_study()
    with pytest.raises((TypeError, ValueError), match="the objective's result"):
        optimize(study, lambda _: values, n_generations=2)
    assert states_of(study) == [TrialState.FAIL] * 6


def test_nan_fails_its_trial_alone_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    study = make_study()
    optimize(study, lambda _: [0.0, math.nan, 0.0, math.inf, 0.0, 0.0], n_generations=1)
    expected = [TrialState.COMPLETE] * 6
    expected[1] = TrialState.FAIL
    assert states_of(study) == expected
    assert study.trials[1].system_attrs["epbt:error"] == "The objective returned NaN for it."
    assert "Trial 1 failed: The objective returned NaN" in caplog.text


def broken(_: Generation) -> list[float]:
    raise ZeroDivisionError("broken")


def test_an_exception_fails_the_batch_and_ends_the_run() -> None:
    study = make_study()
    called: list[int] = []
    with pytest.raises(ZeroDivisionError, match="broken"):
        optimize(study, broken, n_generations=2, callbacks=[lambda _, t: called.append(t.number)])
    assert states_of(study) == [TrialState.FAIL] * 6
    assert all("ZeroDivisionError" in t.system_attrs["epbt:error"] for t in study.trials)
    assert called == []


def test_an_exception_that_is_caught_fails_the_batch_and_the_run_goes_on() -> None:
    study = make_study()

    def sometimes(generation: Generation) -> Any:
        return broken(generation) if generation.number == 1 else quick(generation)

    called: list[int] = []
    optimize(
        study,
        sometimes,
        n_generations=3,
        catch=ArithmeticError,
        callbacks=[lambda _, trial: called.append(trial.number)],
    )
    complete, failed = TrialState.COMPLETE, TrialState.FAIL
    assert states_of(study) == [complete] * 6 + [failed] * 3 + [complete] * 3
    assert called == list(range(N_TRIALS))


def test_trial_pruned_prunes_all_that_are_alive() -> None:
    study = make_study()

    def objective(generation: Generation) -> None:
        study.tell(2, state=TrialState.FAIL)
        generation.report([1.0] * 6, 0)
        raise optuna.TrialPruned

    optimize(study, objective, n_generations=1)
    assert [trial.state == TrialState.PRUNED for trial in study.trials] == [
        i != 2 for i in range(6)
    ]


def test_a_pruned_member_ends_pruned_whatever_is_returned_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    study = make_study(pruner=EPBTPruner())

    def objective(generation: Generation) -> list[float]:
        generation.report([0.0, math.nan, 0.0, 0.0, 0.0, 0.0], 0)
        generation.should_prune()
        return [0.0, math.nan, 0.0, 0.0, 0.0, 0.0]

    optimize(study, objective, n_generations=1)
    assert [trial.state for trial in study.trials].count(TrialState.COMPLETE) == 5
    assert study.trials[1].state == TrialState.PRUNED
    assert "epbt:error" not in study.trials[1].system_attrs
    assert "failed" not in caplog.text


def test_callbacks_get_each_trial_once_the_batch_is_told() -> None:
    study = make_study()
    seen: list[tuple[int, int]] = []

    def callback(_: optuna.Study, trial: FrozenTrial) -> None:
        n_ended = sum(t.state.is_finished() for t in study.get_trials(deepcopy=False))
        seen.append((trial.number, n_ended))

    optimize(study, quick, n_generations=2, callbacks=[callback])
    assert seen == [*((i, 6) for i in range(6)), *((i, 9) for i in range(6, 9))]


@pytest.mark.parametrize("where", ["objective", "callback"])
def test_stop_ends_the_run_after_the_batch(where: str) -> None:
    study = make_study()

    def stop(*_: object) -> None:
        study.stop()

    def objective(generation: Generation) -> Any:
        if where == "objective":
            stop()
        return quick(generation)

    callbacks = [stop] if where == "callback" else []
    optimize(study, objective, n_generations=3, callbacks=callbacks)
    assert states_of(study) == [TrialState.COMPLETE] * 6
    optimize(study, quick, n_generations=3)  # the stop is forgotten
    assert len(study.trials) == N_TRIALS


def test_no_batch_begins_after_the_timeout() -> None:
    study = make_study()
    optimize(study, quick, n_generations=3, timeout=0)
    assert study.trials == []
    optimize(study, quick, n_generations=3, timeout=1000)
    assert len(study.trials) == N_TRIALS


def test_each_generation_has_one_line(caplog: pytest.LogCaptureFixture) -> None:
    values = iter([[0.0, 1.0, 5.0, math.nan], [2.0, 3.0], [1.0, 1.0, 1.0]])
    with caplog.at_level(logging.INFO, "optuna.epbt_optuna"):
        optimize(make_study(), lambda _: next(values), n_generations=2, max_batch=4)
    first, second = (r.getMessage() for r in caplog.records if r.levelname == "INFO")
    assert first.startswith("Generation 0 finished: best 5 (trial 2), median 2, 1 failed, ")
    assert second.startswith("Generation 1 finished: best 1 (trial 6), median 1, ")


def test_constraints_enqueued_trials_and_attributes_are_as_in_a_loop() -> None:
    def batch(generation: Generation) -> list[float]:
        x = generation.suggest_float("x", -1, 1)
        for trial in generation.trials:
            set_constraint(trial, "c", trial.params["x"])
        generation.set_user_attr("half", x / 2)
        return [trial.params["x"] for trial in generation.trials]

    def one(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -1, 1)
        set_constraint(trial, "c", x)
        return x

    loop, batched = make_study(), make_study()
    for study in (loop, batched):
        study.enqueue_trial({"x": 0.75})
        study.enqueue_trial({"x": -0.25})
    loop.optimize(one, n_trials=N_TRIALS)
    optimize(batched, batch, n_generations=3)
    assert history_of(batched) == history_of(loop)
    assert batched.trials[1].user_attrs["half"] == -0.125
    check_lineage(batched.trials, RULES)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_sampler_around_ours_is_looked_into() -> None:
    sampler = optuna.samplers.PartialFixedSampler({"x": 0.5}, EPBTSampler(6, n_elites=3))
    study = make_study(sampler=sampler)
    optimize(study, quick, n_generations=3)
    assert [trial.params["x"] for trial in study.trials] == [0.5] * N_TRIALS


def test_a_batch_may_be_trained_outside_of_the_main_thread() -> None:
    study = make_study()
    thread = threading.Thread(target=lambda: optimize(study, quick, n_generations=2))
    thread.start()
    thread.join()
    assert states_of(study) == [TrialState.COMPLETE] * 9


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_generations": 0}, ValueError, "`n_generations` must be at least 1"),
        ({"n_generations": 1.5}, TypeError, "`n_generations` must be an integer"),
        ({"max_batch": 0}, ValueError, "`max_batch` must be at least 1"),
        ({"timeout": -1}, ValueError, "`timeout` must be at least 0"),
        ({"catch": "error"}, TypeError, "`catch` must name subclasses of Exception"),
        ({"checkpoints": "folder"}, TypeError, "`checkpoints` must be a CheckpointStore"),
        ({"device": "gpu"}, ValueError, "`device` must be one that is here but got 'gpu'"),
        ({"objective": lambda: None}, TypeError, r"`objective` must be called with \(generation"),
    ],
)
def test_bad_arguments_are_refused_before_a_trial_is_asked(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    study = make_study()
    arguments = {"objective": quick, "n_generations": 1, **options}
    with pytest.raises(error, match=message):
        optimize(study, **arguments)
    assert study.trials == []


def test_other_samplers_and_other_generations_are_refused() -> None:
    with pytest.raises(TypeError, match=r"`study\.sampler` must be an EPBTSampler"):
        optimize(make_study(sampler=optuna.samplers.RandomSampler()), quick, n_generations=1)
    study = make_study()
    optimize(study, quick, n_generations=1)
    study.sampler = EPBTSampler(8)
    with pytest.raises(ValueError, match="was begun with a population_size of 6"):
        optimize(study, quick, n_generations=2)
    assert len(study.trials) == 6


def test_an_objective_cannot_optimize_its_own_study() -> None:
    study = make_study()
    with pytest.raises(RuntimeError, match="must not be called by an objective"):
        optimize(study, lambda _: optimize(study, quick, n_generations=1), n_generations=1)
