"""Anything at any time: runs of `parallel.optimize` whose workers are killed, paused and starved.

As a program, `python -m tests.drills.mixes`, it is one run with processes. Of its trials some fork
children that outlive everything, or cannot save as the disk is full; and a thread sends signals to
workers at seeded random moments. `run` waits for the program's end, and `check` compares what is
left with what the program's callbacks saw.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import CheckpointStore, EPBTSampler
from epbt_optuna._internal.processes import start_of
from epbt_optuna.journal import journal_storage
from epbt_optuna.parallel import optimize
from tests.replay import Rules, check_lineage, lineage_of

__all__ = ["Mix", "check", "run"]

_RULES = Rules(4, 2, StudyDirection.MAXIMIZE)
_REPOSITORY = Path(__file__).parent.parent.parent
_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP)
_DISK_BYTES = 100_000  # no file may be larger while a disk is full


@dataclass(frozen=True)
class Mix:
    """What to run.

    Attributes:
        folder: For the study, the checkpoints and the drill's own files.
        seed: Of what happens, and when.
        n_trials: How many.
        n_workers: At work at a time.
        n_signals: How many workers get one.
        hang_seconds: After how long a run counts as hung.
    """

    folder: str
    seed: int
    n_trials: int = 14
    n_workers: int = 2
    n_signals: int = 6
    hang_seconds: float = 300.0

    @property
    def has_heartbeat(self) -> bool:
        """Whether trials have heartbeats and are retried; every third mix."""
        return self.seed % 3 == 2


def run(mix: Mix) -> None:
    """Run one mix to its end.

    Raises:
        AssertionError: It hung, or ended with an error; the text has its last lines.
    """
    log = Path(mix.folder, "stderr")
    with log.open("w") as errors:
        program = subprocess.Popen(
            [sys.executable, "-m", "tests.drills.mixes", json.dumps(asdict(mix))],
            cwd=_REPOSITORY,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=errors,
            start_new_session=True,
        )
        try:
            status = program.wait(mix.hang_seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{mix} hung:\n{log.read_text()[-2000:]}") from None
        finally:
            os.killpg(program.pid, signal.SIGKILL)  # children of workers live on, as they are to
            program.wait()
    assert status == 0, f"{mix} ended with {status}:\n{log.read_text()[-2000:]}"


def check(mix: Mix) -> Counter[str]:
    """Check that nothing was lost, and return how many trials ended in which state.

    Raises:
        AssertionError: Something was, or somebody was bred against the rules.
    """
    with _opened(mix) as study:
        trials = study.get_trials()
    seen = json.loads(Path(mix.folder, "seen").read_text())
    states = Counter(trial.state.name for trial in trials)
    assert not states["RUNNING"], f"{mix} left {states}"
    assert len(seen) == mix.n_trials, f"{mix} saw {len(seen)} trials"
    files = {path.name for path in Path(mix.folder, "checkpoints").rglob("*")}
    for trial in trials:
        if trial.state == TrialState.COMPLETE:
            assert seen[str(trial.number)] == trial.value, f"{mix}, {trial}"
            assert trial.system_attrs["epbt:checkpoint"]["artifact"] in files, f"{mix}, {trial}"
    told = sum(value is not None for value in seen.values())
    assert told == states["COMPLETE"], f"{mix} told {told} of {states}"
    check_lineage(trials, _RULES)
    return states


# The run


@contextmanager
def _opened(mix: Mix) -> Iterator[optuna.Study]:
    path = f"{mix.folder}/study"
    if mix.has_heartbeat:
        retry = RetryHeartbeatStaleTrialCallback(max_retry=2)
        storage: Any = RDBStorage(
            f"sqlite:///{path}",
            engine_kwargs={"connect_args": {"timeout": 60}},
            heartbeat_interval=1,
            grace_period=3,
            heartbeat_stale_trial_callback=retry,
        )
    else:
        storage = journal_storage(path)
    yield optuna.create_study(
        study_name="mix",
        storage=storage,
        sampler=EPBTSampler(_RULES.population_size, n_elites=_RULES.n_elites, seed=mix.seed),
        direction=_RULES.direction,
        load_if_exists=True,
    )
    if mix.has_heartbeat:
        storage.remove_session()
        storage.engine.dispose()


class _Objective:
    """Trains nothing; its checkpoint is a file with its number."""

    def __init__(self, mix: Mix) -> None:
        self.mix = mix
        self.checkpoints = CheckpointStore(Path(mix.folder, "checkpoints"))

    def __call__(self, trial: optuna.Trial) -> float:
        generator = random.Random(f"{self.mix.seed} {trial.number}")
        folder = Path(self.mix.folder)
        (folder / f"worker-{os.getpid()}").touch()
        value = trial.suggest_float("x", 0.0, 1.0)
        where = folder / f"inherited-{trial.number}-{os.getpid()}"
        inherited = self.checkpoints.inherit_path(trial, where)
        if inherited is not None:
            parent = (lineage_of(trial.study.trials[trial.number]) or {})["parent"]
            assert inherited.read_text().strip() == str(parent), "another one's weights"
        if generator.random() < 0.15:
            _leave_child_behind(generator)
        time.sleep(generator.uniform(0.0, 0.4))
        own = folder / f"saved-{trial.number}-{os.getpid()}"
        is_full = generator.random() < 0.15
        own.write_text(str(trial.number) + " " * (2 * _DISK_BYTES if is_full else 10))
        with _full_disk() if is_full else _ample_disk():
            self.checkpoints.save_path(trial, own)
        return value


def _leave_child_behind(generator: random.Random) -> None:
    if generator.random() < 0.5:
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)
    else:
        subprocess.Popen(["sleep", "600"], close_fds=False)


@contextmanager
def _ample_disk() -> Iterator[None]:
    yield


@contextmanager
def _full_disk() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_DISK_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _send_signals(mix: Mix) -> None:
    """Send signals to workers that have run a trial, whatever they do by then."""
    generator = random.Random(mix.seed)
    paused: list[tuple[float, int]] = []
    n_left = mix.n_signals
    while n_left or paused:
        time.sleep(generator.uniform(0.05, 0.5))
        for until, process in paused[:]:
            if time.monotonic() >= until:
                paused.remove((until, process))
                _send(process, signal.SIGCONT)
        known = [int(path.name.partition("-")[2]) for path in Path(mix.folder).glob("worker-*")]
        workers = [process for process in sorted(known) if _is_alive(process)]
        if workers and n_left:
            n_left -= 1
            process, number = generator.choice(workers), generator.choice(_SIGNALS)
            _send(process, number)
            if number == signal.SIGSTOP:
                paused.append((time.monotonic() + generator.choice((0.3, 2.0, 6.0)), process))


def _send(process: int, number: signal.Signals) -> None:
    if _is_alive(process):
        os.kill(process, number)


def _is_alive(process: int) -> bool:
    """Tell whether a worker has not ended; a later process of its number is of another session."""
    try:
        return bool(start_of(process)) and os.getsid(process) == os.getsid(0)
    except ProcessLookupError:  # it ended in between
        return False


def _main(mix: Mix) -> None:
    seen: dict[int, float | None] = {}

    def see(_: optuna.Study, trial: FrozenTrial) -> None:
        is_complete = trial.state == TrialState.COMPLETE
        seen[trial.number] = trial.value if is_complete else None

    threading.Thread(target=_send_signals, args=(mix,), daemon=True).start()
    with _opened(mix) as study:
        optimize(
            study,
            _Objective(mix),
            mix.n_trials,
            devices=["cpu"] * mix.n_workers,
            catch=Exception,
            callbacks=[see],
        )
    Path(mix.folder, "seen").write_text(json.dumps(seen))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    _main(Mix(**json.loads(sys.argv[1])))
