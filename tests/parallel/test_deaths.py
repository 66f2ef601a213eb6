"""Workers that die, hang or are broken: what it costs, and when it is too much."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import text

from epbt_optuna.parallel import optimize
from epbt_optuna.parallel.deaths import Deaths
from epbt_optuna.parallel.engines import child as child_module
from epbt_optuna.parallel.worker import Outcome
from tests.parallel.runs import is_there, journal_study, quick, trials_in, wait_until

pytestmark = pytest.mark.usefixtures("untraced_workers")

LEFT = Outcome("Its worker process exited with 3.", left=True)
A_REAL_TIME_SIGNAL = 40

kept: list[object] = []


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return journal_study(tmp_path / "log")


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Callable[[], list[int]]]:
    """Return who lives of those that objectives noted in the folder; none does after the test."""

    def alive() -> list[int]:
        return [process for process in trials_in(tmp_path).values() if is_there(process)]

    yield alive
    for process in alive():
        os.kill(process, signal.SIGKILL)


def run(study: optuna.Study, objective: Any, n_trials: int, **options: Any) -> None:
    optimize(study, objective, n_trials, **{"devices": ["cpu"], **options})


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def kill_oneself(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(300)  # the signal may be delivered to another thread


ENDS: list[tuple[Callable[[], object], str]] = [
    (lambda: sys.exit(3), "Its objective raised SystemExit(3)."),
    (lambda: os._exit(3), "Its worker process exited with 3."),
    (lambda: os._exit(0), "Its worker process exited with 0."),
    (lambda: os.abort(), "Its worker process was killed by SIGABRT."),
    (lambda: kill_oneself(signal.SIGTERM), "Its worker process was killed by SIGTERM."),
    (lambda: kill_oneself(signal.SIGKILL), "Its worker process was killed by SIGKILL."),
    (lambda: kill_oneself(A_REAL_TIME_SIGNAL), "Its worker process was killed by signal 40."),
]


def test_however_a_worker_ends_its_trial_fails_and_the_run_goes_on(study: optuna.Study) -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number % 2 == 0:
            ENDS[trial.number // 2][0]()
        return quick(trial)

    run(study, objective, 2 * len(ENDS))
    assert states(study) == ["FAIL", "COMPLETE"] * len(ENDS)
    assert [t.system_attrs["epbt:error"] for t in study.trials[::2]] == [how for _, how in ENDS]


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files in /proc")
def test_what_is_open_of_dead_workers_does_not_wait_for_the_garbage_collector(
    study: optuna.Study,
) -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number < 5:
            os._exit(3)
        return quick(trial)

    gc.collect()
    n_open = len(os.listdir("/proc/self/fd"))
    gc.disable()
    try:
        run(study, objective, 6)
        assert len(os.listdir("/proc/self/fd")) <= n_open + 1
    finally:
        gc.enable()


@pytest.mark.parametrize("engine", ["thread", "process"])
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_only_the_drivers_own_interrupt_ends_a_run(
    study: optuna.Study, engine: str, error: BaseException
) -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number == 1:
            raise error
        return quick(trial)

    run(study, objective, 3, engine=engine)
    assert states(study) == ["COMPLETE", "FAIL", "COMPLETE"]


def test_ctrl_c_that_reaches_a_worker_alone_is_none(study: optuna.Study) -> None:
    def objective(trial: optuna.Trial) -> float:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        return quick(trial)

    run(study, objective, 2)
    assert states(study) == ["COMPLETE"] * 2


# Children of workers


def by_fork() -> int:
    child = os.fork()
    if child == 0:
        time.sleep(300)
        os._exit(0)
    return child


def by_manager() -> int:
    manager = multiprocessing.get_context("fork").Manager()
    kept.append(manager)  # it ends when it is forgotten
    child = manager._process.pid  # type: ignore[attr-defined]
    assert isinstance(child, int)
    return child


def by_process() -> int:
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(300,))
    process.start()
    assert process.pid is not None
    return process.pid


def by_popen() -> int:
    return subprocess.Popen(["sleep", "300"], close_fds=False).pid


@pytest.mark.parametrize("start_child", [by_fork, by_manager, by_process, by_popen])
def test_a_worker_that_dies_is_missed_though_children_of_its_own_live_on(
    study: optuna.Study,
    tmp_path: Path,
    start_child: Callable[[], int],
    children: Callable[[], list[int]],
) -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number == 0:
            (tmp_path / f"{trial.number}-{start_child()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return quick(trial)

    run(study, objective, 2)
    assert states(study) == ["FAIL", "COMPLETE"]
    assert len(children()) == 1


@pytest.mark.parametrize("start_child", [by_fork, by_process, by_popen])
def test_a_run_ends_though_children_of_its_workers_live_on(
    study: optuna.Study,
    tmp_path: Path,
    start_child: Callable[[], int],
    children: Callable[[], list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child_module, "_END_SECONDS", 1.0)  # Python waits for one's Processes

    def objective(trial: optuna.Trial) -> float:
        (tmp_path / f"{trial.number}-{start_child()}").touch()
        trial.set_user_attr("process", os.getpid())
        return quick(trial)

    run(study, objective, 1)
    assert states(study) == ["COMPLETE"]
    assert not is_there(study.trials[0].user_attrs["process"])
    assert len(children()) == 1


@pytest.mark.parametrize("leave", [lambda: sys.exit(0), lambda: 1 / 0], ids=["exit", "error"])
def test_a_forked_child_that_leaves_the_objective_does_not_tell_the_trial(
    study: optuna.Study, leave: Callable[[], object]
) -> None:
    def objective(trial: optuna.Trial) -> float:
        child = os.fork()
        if child == 0:
            leave()
        os.waitpid(child, 0)
        return quick(trial)

    run(study, objective, 2)
    assert states(study) == ["COMPLETE"] * 2


# Hanging, and broken, but alive


def is_paused(process: int) -> bool:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_worker_that_is_paused_past_its_heartbeat_for_good_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    storage = RDBStorage(
        f"sqlite:///{tmp_path}/storage/study.db",
        heartbeat_interval=1,
        grace_period=60,  # enough for those that run, on a busy machine too
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=1),
    )
    study = optuna.create_study(storage=storage)

    def let_time_pass() -> None:
        wait_until(lambda: 0 in trials_in(tmp_path) and is_paused(trials_in(tmp_path)[0]))
        with storage.engine.begin() as connection:
            minutes_ago = (
                "UPDATE trial_heartbeats SET heartbeat = datetime(heartbeat, '-2 minutes')"
            )
            connection.execute(text(minutes_ago))

    def objective(trial: optuna.Trial) -> float:
        (tmp_path / f"{trial.number}-{os.getpid()}").touch()
        value = quick(trial)
        if trial.number == 0:
            time.sleep(1.5)  # it has a heartbeat, and is between two: it holds no lock of SQLite's
            os.kill(os.getpid(), signal.SIGSTOP)
        return value

    with ThreadPoolExecutor(1) as thread:
        passed = thread.submit(let_time_pass)
        run(study, objective, 2)
        passed.result()
    paused, retry = study.get_trials()
    assert [paused.state, retry.state] == [TrialState.FAIL, TrialState.COMPLETE]
    assert retry.system_attrs["failed_trial"] == 0
    assert not any(map(is_there, trials_in(tmp_path).values()))
    storage.remove_session()
    storage.engine.dispose()


class Processes:
    """A callback that notes which process ran each trial; the trials have to say so."""

    def __init__(self) -> None:
        self.of: list[int] = []

    def __call__(self, _: optuna.Study, trial: FrozenTrial) -> None:
        self.of.append(trial.user_attrs["process"])


def test_a_worker_is_replaced_after_two_failures_in_a_row(study: optuna.Study) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr("process", os.getpid())
        if trial.number in (0, 2, 3):
            raise ValueError
        return quick(trial)

    processes = Processes()
    run(study, objective, 6, catch=ValueError, callbacks=[processes])
    first, *others = processes.of
    assert others == [first] * 3 + [others[-1]] * 2
    assert others[-1] != first


def test_a_worker_whose_cuda_context_is_lost_is_replaced_at_once(study: optuna.Study) -> None:
    def device_side_assert() -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr("process", os.getpid())
        if trial.number == 0:
            cuda = SimpleNamespace(is_initialized=lambda: True, synchronize=device_side_assert)
            sys.modules["torch"] = SimpleNamespace(cuda=cuda)  # type: ignore[assignment]
            device_side_assert()
        return quick(trial)

    processes = Processes()
    run(study, objective, 3, catch=RuntimeError, callbacks=[processes])
    assert processes.of[0] != processes.of[1] == processes.of[2]
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE"]


# Too much


@pytest.mark.parametrize(("engine", "end"), [("process", 1), ("thread", 0)])
def test_a_run_whose_workers_only_end_is_an_error_that_says_how_they_did(
    study: optuna.Study, engine: str, end: int
) -> None:
    with pytest.raises(RuntimeError, match=r"10 workers in a row .* 10 × 'Its .*\(?3\)?\.'"):
        run(study, lambda _: ENDS[end][0](), 100, engine=engine)
    assert states(study) == ["FAIL"] * 10


@pytest.mark.parametrize(
    ("by_itself", "n_workers", "most"), [(Outcome(), 1, 10), (Outcome("nan"), 4, 12)]
)
def test_a_trial_that_ends_by_itself_makes_the_deaths_before_it_bygones(
    by_itself: Outcome, n_workers: int, most: int
) -> None:
    deaths = Deaths()
    for _ in range(2):
        assert not any(deaths.count(LEFT, n_workers) for _ in range(most - 1))
        assert deaths.count(by_itself, n_workers) is None
    assert not any(deaths.count(LEFT, n_workers) for _ in range(most - 1))
    error = deaths.count(Outcome("Its worker process was killed by SIGKILL.", left=True), n_workers)
    assert f"{most - 1} × 'Its worker process exited with 3.', 1 × 'Its worker" in str(error)
