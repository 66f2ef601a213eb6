"""Worker processes: what they are sent, what they send back, and what happens when they die."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import EPBTSampler
from epbt_optuna.parallel import optimize
from tests.drills.storages import opened_study
from tests.drills.training import summary
from tests.parallel import killing
from tests.parallel.runs import RULES, is_there, journal_study, quick, wait_until

pytestmark = pytest.mark.usefixtures("untraced_workers")


class DivergedError(Exception):
    """Pickles, but cannot be unpickled: its arguments are not those of its initialiser."""

    def __init__(self, epoch: int, loss: float) -> None:
        super().__init__(f"at epoch {epoch} the loss was {loss}")


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return journal_study(tmp_path / "log")


def run(study: optuna.Study, objective: Any, n_trials: int, **options: Any) -> None:
    optimize(study, objective, n_trials, devices=["cpu"], **options)


def test_the_objective_may_be_a_closure_and_its_study_can_be_stopped(study: optuna.Study) -> None:
    factor = 2.0

    def objective(trial: optuna.Trial) -> float:
        if trial.number == 1:
            study.stop()
        return factor * trial.suggest_float("x", 0, 1)

    run(study, objective, 10)
    assert [trial.value for trial in study.trials] == [2 * t.params["x"] for t in study.trials]
    assert len(study.trials) == 2


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "grpc"])
def test_processes_share_any_storage_that_they_can_reach(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path}/study.db"
    elif kind == "postgres":
        url = request.getfixturevalue("postgres").new_database()
    else:
        url = request.getfixturevalue("grpc_proxy").url
    sampler = EPBTSampler(RULES.population_size, n_elites=RULES.n_elites, seed=0)
    with opened_study(url, "study", RULES, sampler) as study:
        optimize(study, quick, n_generations=3, devices=["cpu"])
        in_memory = optuna.create_study(direction=RULES.direction, sampler=sampler)
        in_memory.optimize(quick, n_trials=sampler.n_trials(3))
        assert [summary(t) for t in study.trials] == [summary(t) for t in in_memory.trials]


def test_a_relative_database_stays_the_studys_wherever_driver_and_objective_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = optuna.storages.RDBStorage("sqlite:///study.db")
    study = optuna.create_study(storage=storage)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")

    def objective(trial: optuna.Trial) -> float:
        folder = tmp_path / f"of trial {trial.number}"
        folder.mkdir()
        os.chdir(folder)
        return quick(trial)

    run(study, objective, 3)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3
    assert [*tmp_path.rglob("*.db")] == [tmp_path / "study.db"]
    storage.remove_session()
    storage.engine.dispose()


def test_a_study_that_a_worker_does_not_find_is_an_error_before_the_first_trial(
    tmp_path: Path,
) -> None:
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(storage=storage)
    storage.url = f"sqlite:///{tmp_path}/another.db"  # as if the path led elsewhere from there
    with pytest.raises(ValueError, match="must have a storage that every worker reaches"):
        run(study, quick, 1)
    assert not study.trials
    storage.remove_session()
    storage.engine.dispose()


def test_trials_end_as_in_study_optimize(
    study: optuna.Study, caplog: pytest.LogCaptureFixture
) -> None:
    def objective(trial: optuna.Trial) -> Any:
        trial.report(0.5, step=0)
        match trial.number:
            case 0:
                return 1
            case 1:
                raise optuna.TrialPruned
            case 2:
                raise DivergedError(3, float("inf"))
            case 3:
                return float("nan")
            case 4:
                return None
        raise LookupError("of trial 5")

    with caplog.at_level(logging.WARNING), pytest.raises(LookupError, match="of trial 5"):
        run(study, objective, 10, catch=DivergedError)
    states = ["COMPLETE", "PRUNED", "FAIL", "FAIL", "FAIL", "FAIL"]
    assert [trial.state.name for trial in study.trials] == states
    assert [trial.value for trial in study.trials] == [1.0, 0.5, None, None, None, None]
    for message in (
        "DivergedError: at epoch 3",
        "nan is not acceptable",
        "value None could not be cast",
    ):
        assert message in caplog.text


def test_an_error_that_cannot_be_unpickled_is_raised_by_its_text(study: optuna.Study) -> None:
    def objective(trial: optuna.Trial) -> float:
        raise DivergedError(trial.number, 1.0)

    with pytest.raises(RuntimeError, match="DivergedError: at epoch 0 the loss") as raised:
        run(study, objective, 10)
    assert "in objective" in str(raised.value.__cause__), "the worker's own traceback"
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]


def test_an_error_that_carries_much_data_is_shortened_where_it_is_stored_and_raised(
    study: optuna.Study,
) -> None:
    def objective(_: optuna.Trial) -> float:
        raise ValueError("begins " + "x" * 1_000_000 + " ends")

    with pytest.raises(RuntimeError, match="ValueError: begins x") as raised:
        run(study, objective, 1)
    stored = study.trials[0].system_attrs["epbt:error"]
    for text in (stored, str(raised.value), str(raised.value.__cause__)):
        assert len(text) < 9_000
        assert "(of 1,0" in text
        assert text.rstrip().endswith("x ends")


def test_workers_that_are_killed_lose_their_trials_and_are_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        lost = killing.run(tmp_path, n_kills=3, n_generations=3)
    assert len(lost) == 3
    assert f"3 trials were lost with their workers: {lost}" in caplog.text
    assert "Its worker process was killed by SIGKILL." in caplog.text


def test_a_failed_trial_notes_why(study: optuna.Study) -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError("too steep")

    run(study, objective, 2, catch=ValueError)
    first, second = (trial.system_attrs["epbt:error"] for trial in study.trials)
    assert first == "Its worker process was killed by SIGKILL."
    assert second.endswith("ValueError: too steep\n")


def test_a_worker_that_exits_between_two_trials_loses_none(study: optuna.Study) -> None:
    processes = []

    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr("process", os.getpid())
        return quick(trial)

    def kill_idle_worker(_: optuna.Study, trial: FrozenTrial) -> None:
        processes.append(trial.user_attrs["process"])
        if trial.number == 0:
            os.kill(processes[0], signal.SIGKILL)
            wait_until(lambda: not is_there(processes[0]))

    run(study, objective, 3, callbacks=[kill_idle_worker])
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3
    assert processes[0] != processes[1] == processes[2]


class Start:
    """Ends the first worker where it is unpickled, once the second one has unpickled it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, trial: optuna.Trial) -> float:
        return quick(trial)

    def __reduce__(self) -> tuple[Callable[[Path], object], tuple[Path]]:
        return _unpickled, (self.folder,)


def _unpickled(folder: Path) -> Callable[[optuna.Trial], float]:
    worker = multiprocessing.current_process().name.removeprefix("epbt-worker-")
    (folder / f"{worker}-{os.getpid()}-{os.getppid()}").touch()
    if worker == "0":
        wait_until(lambda: any(folder.glob("1-*")))
        os._exit(3)
    return quick


def test_workers_that_die_before_their_first_trial_are_an_error_which_leaves_no_process(
    study: optuna.Study, tmp_path: Path
) -> None:
    folder = tmp_path / "started"
    folder.mkdir()
    with pytest.raises(RuntimeError, match="died 3 times in a row before it could run a trial"):
        optimize(study, Start(folder), 3, devices=["cpu", "cpu"])
    assert not study.trials
    started = [list(map(int, path.name.split("-"))) for path in folder.iterdir()]
    assert sorted(worker for worker, _, _ in started) == [0, 0, 0, 1]
    # The workers, and the server that has forked them.
    processes = {process for _, *both in started for process in both} - {os.getpid()}
    assert not list(filter(is_there, processes))
    assert not [thread for thread in threading.enumerate() if "epbt" in thread.name]


@pytest.mark.parametrize(
    "end", [lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: sys.exit(0)], ids=["kill", "exit"]
)
def test_a_trial_lost_on_a_storage_with_heartbeats_is_retried_as_its_callback_says(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, end: Callable[[], object]
) -> None:
    storage = optuna.storages.RDBStorage(
        f"sqlite:///{tmp_path}/study.db",
        heartbeat_interval=60,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=1),
    )
    study = optuna.create_study(storage=storage)

    def objective(trial: optuna.Trial) -> float:
        value = quick(trial)
        if trial.number == 0:
            end()
        return value

    run(study, objective, 2)
    lost, retry = study.trials
    assert [lost.state, retry.state] == [TrialState.FAIL, TrialState.COMPLETE]
    assert retry.params == lost.params
    assert retry.system_attrs["failed_trial"] == 0
    storage.remove_session()
    storage.engine.dispose()
    assert not [w for w in recwarn if "Heartbeat of storage" in str(w.message)]


def test_a_storage_in_memory_is_refused_before_the_first_trial() -> None:
    for storage in (None, "sqlite://", "sqlite:///:memory:"):
        study = optuna.create_study(storage=storage)
        with pytest.raises(ValueError, match="its storage is in the memory of this one"):
            run(study, quick, 3)
        assert not study.trials


def test_what_cannot_be_pickled_is_refused_by_its_name(study: optuna.Study) -> None:
    lock = threading.Lock()

    def objective(trial: optuna.Trial) -> float:
        with lock:
            return quick(trial)

    with pytest.raises(TypeError, match="`objective` must be picklable for worker processes"):
        run(study, objective, 3)
    study.pruner = optuna.pruners.NopPruner()
    study.pruner.lock = lock  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"`study.pruner` must be picklable for worker processes"):
        run(study, quick, 3)
    assert not study.trials
