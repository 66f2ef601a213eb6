"""Worker processes that a server forks: as good as spawned ones, and sooner there."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from epbt_optuna.parallel import optimize
from epbt_optuna.parallel.devices import Slot
from epbt_optuna.parallel.engines import fork_server, fork_server_process
from epbt_optuna.parallel.progress import Progress
from tests.parallel.runs import is_there, journal_study, quick, wait_until
from tests.parallel.test_scripts import run as run_script
from tests.parallel.test_scripts import saved

pytestmark = pytest.mark.skipif(not fork_server.can_fork(()), reason="only Linux has such servers")

# A module makes its globals where it is imported; a script's are sent along with its objective.
MODULE = """
import os, random, tempfile
from pathlib import Path
import numpy
from tests.parallel.runs import trials_in, wait_until
RNG = numpy.random.default_rng()
FOLDER = tempfile.mkdtemp(dir=".", prefix="made_by_")
def objective(trial):
    Path(f"{trial.number}-{os.getpid()}").touch()
    wait_until(lambda: len(trials_in(Path("."))) == 2)  # so each has a worker of its own
    own = RNG.random(), numpy.random.random(), random.random(), FOLDER, os.getpid()
    trial.set_user_attr("own", own)
    trial.set_user_attr("parent", os.getppid())
    return 0.0
"""
# NumPy 1 and scikit-learn import `numpy.random`, and make its generator, before the fork.
SCRIPT = """
from pathlib import Path
from epbt_optuna.parallel import optimize
from epbt_optuna.parallel.engines import fork_server
from module import objective
from tests.parallel.runs import journal_study
if __name__ == "__main__":
    fork_server._LIBRARIES = ("numpy.random",)
    devices = ["cpu", "cpu"]
    optimize(journal_study(Path("log")), objective, 2, devices=devices, start_method="METHOD")
"""


def note_parent(trial: optuna.Trial) -> float:
    trial.set_user_attr("parent", os.getppid())
    return quick(trial)


def parents(study: optuna.Study) -> set[int]:
    return {trial.user_attrs["parent"] for trial in study.trials if trial.user_attrs}


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return journal_study(tmp_path / "log")


def run(study: optuna.Study, objective: Callable[..., float], **options: Any) -> None:
    optimize(study, objective, 4, **{"devices": ["cpu", "cpu"], **options})


def test_workers_are_forked_by_one_server_which_ends_with_the_run(study: optuna.Study) -> None:
    run(study, note_parent)
    (server,) = parents(study)
    assert server != os.getpid()
    wait_until(lambda: not is_there(server))


def test_workers_are_spawned_where_that_is_wanted(study: optuna.Study) -> None:
    run(study, note_parent, start_method="spawn")
    assert parents(study) == {os.getpid()}


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_what_a_users_module_makes_when_it_is_imported_is_each_workers_own(
    tmp_path: Path, method: str
) -> None:
    """Generators of random numbers above all: of equal ones, two workers would train the same."""
    (tmp_path / "module.py").write_text(MODULE)
    done = run_script(tmp_path, saved(tmp_path, SCRIPT.replace("METHOD", method)))
    assert done.returncode == 0, done.stderr
    trials = journal_study(tmp_path / "log").trials
    one, other = (trial.user_attrs["own"] for trial in trials)
    assert not set(one) & set(other)
    assert len({trial.user_attrs["parent"] for trial in trials}) == 1


def test_a_server_that_is_killed_costs_what_ran_and_workers_are_spawned_from_then_on(
    study: optuna.Study,
) -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number == 0:
            os.kill(os.getppid(), signal.SIGKILL)
            signal.pause()
        return note_parent(trial)

    run(study, objective, devices=["cpu"])
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] + 3 * [TrialState.COMPLETE]
    assert parents(study) == {os.getpid()}


def test_where_the_server_cannot_fork_workers_are_spawned(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fork_server, "_PROGRAM", "pass")
    run(study, note_parent)
    assert parents(study) == {os.getpid()}


def test_a_process_with_threads_is_not_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("threading.active_count", lambda: 1)
    assert fork_server_process._may_fork()
    monkeypatch.setattr("threading.active_count", lambda: 2)
    assert not fork_server_process._may_fork()


def test_a_process_that_uses_a_gpu_is_not_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr("threading.active_count", lambda: 1)
    assert fork_server_process._may_fork()
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    assert not fork_server_process._may_fork()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start_method": "fork"}, "one of .*'forkserver', 'spawn'.* but got 'fork'"),
        ({"start_method": "spawn", "engine": "thread"}, "for engine='process'.* is 'thread'"),
    ],
)
def test_a_start_method_that_is_none_is_refused(
    study: optuna.Study, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(study, quick, **options)


def test_a_server_is_refused_where_there_can_be_none(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[optimize.__module__], "can_fork", lambda _: False)
    with pytest.raises(ValueError, match="'spawn' or None elsewhere than on Linux"):
        run(study, quick, start_method="forkserver")


def test_gpus_are_for_spawned_workers() -> None:
    slots = (Slot(0, "cpu", 1), Slot(1, "cuda:0", 1))
    assert fork_server.can_fork(slots[:1])
    assert not fork_server.can_fork(slots)


def test_the_bar_shows_at_once_how_many_workers_are_ready(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[int, int]] = []
    monkeypatch.setattr(Progress, "show_start", lambda _self, *counts: shown.append(counts))
    run(study, quick)
    assert shown == [(0, 2), (1, 2), (2, 2)]
