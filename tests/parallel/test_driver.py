"""The driver's loop, with threads as workers: what is asked when, and how a run ends."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import EPBTSampler, resume
from epbt_optuna.parallel import optimize
from tests.parallel.runs import RULES, SECONDS, quick, wait_until
from tests.replay import check_lineage

P, K = RULES.population_size, RULES.n_elites
N_WORKERS = 3


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(direction=RULES.direction, sampler=EPBTSampler(P, seed=0))


def run(study: optuna.Study, objective: Any, n_trials: int | None = None, **options: Any) -> None:
    options = {"workers": N_WORKERS, "engine": "thread", **options}
    optimize(study, objective, n_trials, **options)


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


# How many trials


def test_n_trials_are_further_trials(study: optuna.Study) -> None:
    run(study, quick, 4)
    run(study, quick, 3)
    run(study, quick, 0)
    assert states(study) == ["COMPLETE"] * 7


def test_n_generations_are_those_of_the_study_however_often_it_is_begun(
    study: optuna.Study,
) -> None:
    run(study, quick, 4)
    for n_generations in (2, 2, 1, 3):
        run(study, quick, n_generations=n_generations)
    assert len(study.trials) == P + 2 * (P - K)
    check_lineage(study.trials, RULES)


def test_waiting_trials_count_as_those_that_are_to_be_run(study: optuna.Study) -> None:
    for x in (0.25, 0.5):
        study.enqueue_trial({"x": x})
    run(study, quick, n_generations=1)
    assert [trial.params["x"] for trial in study.trials[:2]] == [0.25, 0.5]
    study.tell(study.ask(), state=TrialState.FAIL)
    resume(study, study.trials[-1])
    run(study, quick, n_generations=2)
    assert len(study.trials) == P + (P - K)
    assert all(trial.state.is_finished() for trial in study.trials)


def test_trials_that_another_process_takes_are_not_run_twice(study: optuna.Study) -> None:
    def tell_one_more(study: optuna.Study, trial: FrozenTrial) -> None:
        if trial.number == 0:
            other = study.ask()
            study.tell(other, quick(other))

    run(study, quick, n_generations=2, callbacks=[tell_one_more], workers=1)
    assert states(study) == ["COMPLETE"] * (P + P - K)


# The barrier


class Overlaps:
    """An objective that notes who of an earlier generation still runs when a trial begins.

    Args:
        sampler: That of the study.
        overlapping: Trial 0 takes until a trial of a later generation begins.
    """

    def __init__(self, sampler: EPBTSampler, overlapping: bool) -> None:
        self.generation_of = sampler.generation_of
        self.overlapping = overlapping
        self.all_busy = threading.Barrier(N_WORKERS)
        self.next_begun = threading.Event()
        self.running: set[int] = set()
        self.seen: set[tuple[int, int]] = set()
        self.most = 0
        self.lock = threading.Lock()

    def __call__(self, trial: optuna.Trial) -> float:
        with self.lock:
            for other in self.running:
                if self.generation_of(other) < self.generation_of(trial.number):
                    self.seen.add((other, trial.number))
            self.running.add(trial.number)
            self.most = max(self.most, len(self.running))
        if trial.number < N_WORKERS:
            self.all_busy.wait(SECONDS)
        if self.generation_of(trial.number) > 0:
            self.next_begun.set()
        if trial.number == 0 and self.overlapping:
            assert self.next_begun.wait(SECONDS)
        time.sleep(0.05 if trial.number % 3 == 0 else 0.01)  # work: others may begin too early
        with self.lock:
            self.running.remove(trial.number)
        return quick(trial)


@pytest.mark.parametrize("barrier", [True, False])
def test_with_the_barrier_no_generation_begins_before_the_last_one_has_finished(
    study: optuna.Study, barrier: bool
) -> None:
    assert isinstance(study.sampler, EPBTSampler)
    objective = Overlaps(study.sampler, overlapping=not barrier)
    run(study, objective, n_generations=5, barrier=barrier)
    assert objective.most == N_WORKERS
    assert bool(objective.seen) == (not barrier)
    check_lineage(study.trials, RULES, stragglers=not barrier)


def test_what_a_killed_run_left_running_is_reported_once_and_not_waited_for(
    study: optuna.Study, caplog: pytest.LogCaptureFixture
) -> None:
    study.ask()
    study.ask()
    with caplog.at_level(logging.WARNING):
        run(study, quick, n_generations=4)
    (message,) = [record.message for record in caplog.records]
    assert message.startswith("Generation 1 begins without trials [0, 1]: they are RUNNING, but")
    assert "state=TrialState.FAIL" in message
    assert states(study)[:2] == ["RUNNING", "RUNNING"]
    assert len(study.trials) == P + 3 * (P - K)


@pytest.fixture
def with_heartbeat(tmp_path: Path) -> Iterator[optuna.Study]:
    storage = RDBStorage(f"sqlite:///{tmp_path}/study.db", heartbeat_interval=1, grace_period=2)
    yield optuna.create_study(storage=storage, sampler=EPBTSampler(P, seed=0))
    storage.remove_session()
    storage.engine.dispose()


pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


@pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed")
def test_with_heartbeats_the_barrier_waits_until_what_others_run_has_ended_or_died(
    with_heartbeat: optuna.Study, caplog: pytest.LogCaptureFixture
) -> None:
    study = with_heartbeat
    dies, lives = study.ask(), study.ask()
    finish = threading.Timer(1.0, lambda: study.tell(lives, quick(lives)))

    def beat(study: optuna.Study, trial: FrozenTrial) -> None:
        if trial.number == P - 1:
            for other in (dies, lives):
                study._storage.record_heartbeat(other._trial_id)  # type: ignore[attr-defined]
            finish.start()

    with caplog.at_level(logging.WARNING):
        run(study, quick, n_generations=2, workers=1, callbacks=[beat])
    trials = study.get_trials()
    assert states(study) == ["FAIL"] + ["COMPLETE"] * (P - 1 + P - K)
    assert f"waits for trials [{dies.number}, {lives.number}], which run else" in caplog.text
    ended = [_ended(trials[dies.number]), _ended(trials[lives.number])]
    assert max(ended) <= min(_began(trial) for trial in trials[P:])
    finish.join()


def _began(trial: FrozenTrial) -> datetime:
    assert trial.datetime_start is not None
    return trial.datetime_start


def _ended(trial: FrozenTrial) -> datetime:
    assert trial.datetime_complete is not None
    return trial.datetime_complete


@pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed")
def test_with_heartbeats_what_was_asked_by_hand_is_not_waited_for_since_it_has_none(
    with_heartbeat: optuna.Study, caplog: pytest.LogCaptureFixture
) -> None:
    with_heartbeat.ask()
    with caplog.at_level(logging.WARNING):
        run(with_heartbeat, quick, n_generations=2, workers=1)
    assert "Generation 1 begins without trials [0]" in caplog.text


# Callbacks, stop, timeout


def test_callbacks_get_every_finished_trial_one_at_a_time_in_the_calling_thread(
    study: optuna.Study,
) -> None:
    called: list[tuple[int, TrialState, int]] = []
    params: list[float] = []

    def callback(own: optuna.Study, trial: FrozenTrial) -> None:
        assert own is study
        called.append((trial.number, trial.state, threading.get_ident()))
        trial.params.clear()  # a copy of its own

    run(study, quick, 6, callbacks=[callback, lambda _, trial: params.append(trial.params["x"])])
    assert sorted(number for number, _, _ in called) == list(range(6))
    assert {state for _, state, _ in called} == {TrialState.COMPLETE}
    assert {thread for _, _, thread in called} == {threading.get_ident()}
    assert len(params) == 6


@pytest.mark.parametrize("where", ["callback", "objective"])
def test_stop_lets_what_runs_finish_and_asks_no_more(study: optuna.Study, where: str) -> None:
    def stop(study: optuna.Study, number: int) -> None:
        if number == 4:
            study.stop()

    def objective(trial: optuna.Trial) -> float:
        if where == "objective":
            stop(trial.study, trial.number)
        return quick(trial)

    def callback(study: optuna.Study, trial: FrozenTrial) -> None:
        if where == "callback":
            stop(study, trial.number)

    run(study, objective, 100, callbacks=[callback])
    assert 5 <= len(study.trials) <= 8
    assert set(states(study)) == {"COMPLETE"}
    run(study, quick, 2)  # is not stopped
    assert 7 <= len(study.trials) <= 10


def test_after_the_timeout_nothing_more_is_asked_and_what_runs_is_finished(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_busy = threading.Barrier(N_WORKERS)
    clock = time.monotonic

    def objective(trial: optuna.Trial) -> float:
        all_busy.wait(SECONDS)
        monkeypatch.setattr(time, "monotonic", lambda: clock() + 3600)  # an hour passes
        return quick(trial)

    run(study, objective, 4 * N_WORKERS, timeout=3600)
    assert states(study) == ["COMPLETE"] * N_WORKERS
    run(study, objective, N_WORKERS, timeout=0)
    assert len(study.trials) == N_WORKERS


# Errors


def test_an_exception_that_is_caught_fails_its_trial_only(study: optuna.Study) -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number == 1:
            raise ZeroDivisionError
        if trial.number == 2:
            raise KeyError
        return quick(trial)

    run(study, objective, 5, catch=(ArithmeticError, KeyError))
    assert states(study) == ["COMPLETE", "FAIL", "FAIL", "COMPLETE", "COMPLETE"]


def test_an_exception_that_is_not_caught_is_raised_when_the_others_have_finished(
    study: optuna.Study, caplog: pytest.LogCaptureFixture
) -> None:
    error = ZeroDivisionError("of trial 1")

    def objective(trial: optuna.Trial) -> float:
        if trial.number == 1:
            raise error
        wait_until(lambda: "Trial 1 failed" in caplog.text)
        return quick(trial)

    with pytest.raises(ZeroDivisionError) as raised:
        run(study, objective, 100, catch=KeyError)
    assert raised.value is error
    assert states(study) == ["COMPLETE", "FAIL", "COMPLETE"]


def test_an_exception_of_a_callback_is_raised_when_the_others_have_finished(
    study: optuna.Study,
) -> None:
    called = threading.Event()

    def callback(study: optuna.Study, trial: FrozenTrial) -> None:  # noqa: ARG001
        called.set()
        raise ZeroDivisionError(f"of trial {trial.number}")

    def objective(trial: optuna.Trial) -> float:
        assert trial.number == 0 or called.wait(SECONDS)
        return quick(trial)

    with pytest.raises(ZeroDivisionError, match="of trial 0"):
        run(study, objective, 100, callbacks=[callback])
    assert states(study) == ["COMPLETE"] * 3


def test_what_after_trial_raises_ends_the_run_caught_or_not() -> None:
    class Sampler(EPBTSampler):
        def after_trial(self, *_: Any) -> None:
            raise ZeroDivisionError

    study = optuna.create_study(sampler=Sampler(P))
    with pytest.raises(ZeroDivisionError):
        run(study, quick, 100, catch=ZeroDivisionError, workers=1)
    assert states(study) == ["COMPLETE"]


@pytest.mark.parametrize("goes_on", ["to report", "to return", "to fail"])
def test_a_trial_that_was_finished_from_outside_stays_as_it_is(
    study: optuna.Study, caplog: pytest.LogCaptureFixture, goes_on: str
) -> None:
    def objective(trial: optuna.Trial) -> float:
        value = quick(trial)
        if trial.number == 1:
            trial.study.tell(trial.number, state=TrialState.FAIL)
            if goes_on == "to report":
                trial.report(value, 0)
            if goes_on == "to fail":  # as saving its checkpoint does
                raise ArithmeticError
        return value

    with caplog.at_level(logging.WARNING):
        run(study, objective, 3)
    assert states(study) == ["COMPLETE", "FAIL", "COMPLETE"]
    assert "Trial 1 failed: It was finished from outside." in caplog.text


def test_optimizing_within_an_objective_or_a_callback_of_the_study_is_refused(
    study: optuna.Study,
) -> None:
    def objective(trial: optuna.Trial) -> float:
        optimize(trial.study, quick, 1, engine="thread")
        return 0.0

    with pytest.raises(RuntimeError, match="must not be called by an objective or a callback"):
        run(study, objective, 1)
    with pytest.raises(RuntimeError, match="must not be called by an objective or a callback"):
        run(study, quick, 1, callbacks=[lambda study, _: run(study, quick, 1)])
    run(study, quick, 1)
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE"]


def test_a_callback_that_exits_after_every_trial_lets_all_that_run_finish(
    study: optuna.Study,
) -> None:
    called = threading.Event()

    def callback(study: optuna.Study, trial: FrozenTrial) -> None:  # noqa: ARG001
        called.set()
        raise SystemExit(trial.number)

    def objective(trial: optuna.Trial) -> float:
        assert trial.number == 0 or called.wait(SECONDS)
        return quick(trial)

    with pytest.raises(SystemExit, match="0"):
        run(study, objective, 100, callbacks=[callback])
    assert states(study) == ["COMPLETE"] * 3
