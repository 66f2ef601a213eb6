"""Kill anywhere: a run whose workers are killed again and again, and started again.

As a program, `python -m tests.drills.kills`, it forks the workers from a small process of its
own, kills them with SIGKILL at seeded random moments spread over all phases of a trial, and lets
the last ones finish. `check_survivors` then compares what is left with the rules.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import EPBTSampler, resume
from epbt_optuna._internal.optuna import read_study_attrs, write_study_attr
from tests.drills.phases import PHASES, PhaseBoard
from tests.drills.processes import exit_status, finish, forked, run_program
from tests.drills.storages import opened_study
from tests.drills.training import RULES, Training, digest, summary
from tests.replay import check_lineage, lineage_of, populations

__all__ = ["Drill", "Kills", "check_survivors", "run"]

Keep: TypeAlias = Literal["population", "lineage", "all"]

_SEED = 5
_LAST_GENERATIONS = 2  # are run without kills, after the last one
_LONGEST_PAUSE = 0.05  # seconds; a phase that waited for a lock was no typical one
_HANG_SECONDS = 120.0


@dataclass(frozen=True)
class Drill:
    """What to run.

    Attributes:
        storage: As `open_storage` takes it.
        folder: For the checkpoints, and the drill's own files.
        n_kills: How often the workers are killed; each time all of them at once.
        seed: Of the moments.
        n_workers: At work at a time.
        keep: What the collector keeps.
        retry: Whether trials that were cut off are resumed; else they are failed.
        trials_between: The most trials that a worker makes between two kills.
    """

    storage: str
    folder: str
    n_kills: int
    seed: int = 0
    n_workers: int = 1
    keep: Keep = "population"
    retry: bool = False
    trials_between: int = 4

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return Path(self.folder, "checkpoints")

    @property
    def witness(self) -> Path:
        """The folder in which the workers themselves write down what they told."""
        return Path(self.folder, "witness")


@dataclass
class Kills:
    """What happened.

    Attributes:
        phases: How many workers were killed in each phase.
        seconds: What the whole drill took.
        longest_restart: The most seconds from a start to the first trial asked.
    """

    phases: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    longest_restart: float = 0.0


def run(drill: Drill) -> Kills:
    """Run the drill in a process of its own and return what happened.

    Raises:
        subprocess.CalledProcessError: A worker failed by itself, or hung; the message is on the
            standard error stream.
    """
    result = run_program("tests.drills.kills", asdict(drill))
    return Kills(**{**result, "phases": Counter(result["phases"])})


# The workers


def _opened(drill: Drill) -> AbstractContextManager[optuna.Study]:
    sampler = EPBTSampler(RULES.population_size, n_elites=RULES.n_elites, seed=_SEED)
    return opened_study(drill.storage, "kills", RULES, sampler)


def _recovered(drill: Drill) -> None:
    with _opened(drill) as study:
        _recover(drill, study)


def _recover(drill: Drill, study: optuna.Study) -> None:
    """Fail or retry what a killed worker left RUNNING; nobody else is at work then."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        # A database may still be at the last thing that the killed worker sent to it.
        with suppress(ValueError, UpdateFinishedTrialError):
            if drill.retry:
                resume(study, trial)
            else:
                study.tell(trial.number, state=TrialState.FAIL)


def _work(drill: Drill, board: PhaseBoard, *, recover: bool, last: bool) -> None:
    """Run trials until killed or, at last, until a few more generations are done."""
    board.enter("open")
    with _opened(drill) as study:
        board.enter("recover")
        if recover:
            _recover(drill, study)
        training = Training(drill.checkpoints, seconds=0.002, enter=board.enter)
        collector = training.checkpoints.collector(keep=drill.keep)
        last_trial = _last_trial(study) if last else None

        def after_trial(study: optuna.Study, trial: FrozenTrial) -> None:
            _bear_witness(drill.witness, trial)
            board.enter("collect")
            collector(study, trial)
            if last_trial is not None and trial.number >= last_trial:
                study.stop()
            board.enter("ask")

        board.enter("ask")
        study.optimize(training, callbacks=[after_trial])


def _last_trial(study: optuna.Study) -> int:
    sampler = study.sampler
    assert isinstance(sampler, EPBTSampler)
    generation = sampler.generation_of(len(study.get_trials(deepcopy=False)))
    return sampler.n_trials(generation + _LAST_GENERATIONS) - 1


def _bear_witness(path: Path, trial: FrozenTrial) -> None:
    path.mkdir(exist_ok=True)
    record = {"number": trial.number, "value": trial.value, **trial.user_attrs}
    with Path(path, str(trial.number)).open("x") as file:  # "x": one number, one trial
        file.write(json.dumps(record))  # in one page of memory: it is there as a whole, or not


# The one who kills


def _warm_up(drill: Drill) -> None:
    """Import now what a worker would import late, so that a forked one is at work at once."""
    if drill.storage.startswith("postgresql"):
        importlib.import_module("psycopg")
    with TemporaryDirectory() as folder:
        in_memory = replace(drill, storage="sqlite://", folder=folder)
        with _opened(in_memory) as study:
            study.optimize(Training(in_memory.checkpoints), n_trials=1)


class _Killer:
    """Forks workers and kills them at random moments of chosen phases."""

    def __init__(self, drill: Drill) -> None:
        self._drill = drill
        self._rng = np.random.default_rng(drill.seed)
        self._boards = [
            PhaseBoard(Path(drill.folder, f"phases-{w}")) for w in range(drill.n_workers)
        ]
        self._processes: list[int] = []
        self._kills = Kills()

    def run(self) -> Kills:
        start = time.perf_counter()
        _warm_up(self._drill)
        finish(forked(lambda: _recovered(self._drill)))  # nobody dies before there is a study
        try:
            for phase in self._targets():
                self._kill_in(phase)
            for process in self._start(last=True):
                finish(process)
        except BaseException:
            self._kill_all()
            raise
        self._kills.seconds = time.perf_counter() - start
        return self._kills

    def _targets(self) -> list[str]:
        """Return all phases about equally often, in random order."""
        n_rounds = -(-self._drill.n_kills // len(PHASES))
        phases = [phase for _ in range(n_rounds) for phase in self._rng.permutation(PHASES)]
        return [str(phase) for phase in phases[: self._drill.n_kills]]

    def _start(self, *, last: bool) -> list[int]:
        several = self._drill.n_workers > 1
        if several:  # nobody may be at work while one fails the trials of the dead
            finish(forked(lambda: _recovered(self._drill)))

        def work(board: PhaseBoard) -> Callable[[], None]:
            return lambda: _work(self._drill, board, recover=not several, last=last)

        self._processes = [forked(work(board)) for board in self._boards]
        return self._processes

    def _kill_in(self, phase: str) -> None:
        """Let the workers work for a while, and kill them somewhere in a phase of one of them."""
        watched = self._boards[self._rng.integers(len(self._boards))]
        n_times = 1 if phase in ("open", "recover") else self._random_count()
        begun = watched.count(phase)
        asked = watched.count("ask")
        start = time.perf_counter()
        processes = self._start(last=False)
        restart = None
        while watched.count(phase) < begun + n_times:
            if restart is None and watched.count("ask") > asked:
                restart = time.perf_counter() - start
                self._kills.longest_restart = max(self._kills.longest_restart, restart)
            self._check_alive(start)
            time.sleep(1e-4)
        time.sleep(float(self._rng.uniform(0, min(watched.seconds(phase), _LONGEST_PAUSE))))
        self._kill_all()
        for process in processes:
            status = exit_status(process)
            if status != -signal.SIGKILL:
                raise RuntimeError(f"A worker ended by itself with status {status}.")
        self._kills.phases.update(board.current for board in self._boards)

    def _random_count(self) -> int:
        return int(self._rng.integers(1, self._drill.trials_between + 1))

    def _kill_all(self) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _check_alive(self, start: float) -> None:
        if os.waitpid(-1, os.WNOHANG) != (0, 0):
            raise RuntimeError("A worker ended by itself.")
        if time.perf_counter() - start > _HANG_SECONDS:
            raise RuntimeError(f"The workers hang in {[b.current for b in self._boards]}.")


# What must hold afterwards


def check_survivors(drill: Drill, kills: Kills) -> Counter[str]:
    """Check that nothing was lost, and return how many trials ended how.

    Raises:
        AssertionError: A trial that had been told is gone or changed, a record that somebody may
            need points to missing or other bytes, a child did not start from its parent's
            weights, more trials were lost than workers killed, or the lineage breaks the rules.
    """
    with _opened(drill) as study:
        trials = study.get_trials()
    check_told_trials_are_there(drill, trials)
    check_bytes(drill, trials)
    check_inheritance(trials)
    lost = [trial for trial in trials if trial.state != TrialState.COMPLETE]
    assert all(trial.state == TrialState.FAIL for trial in lost)
    assert len(lost) <= drill.n_kills * drill.n_workers, f"{len(lost)} lost trials"
    assert sum(kills.phases.values()) == drill.n_kills * drill.n_workers
    check_lineage(trials, RULES, stragglers=drill.n_workers > 1)
    if drill.n_workers == 1 and (drill.keep == "all" or not drill.retry):
        for trial, twin in zip(trials, uninterrupted(drill, trials), strict=True):
            if trial.state == TrialState.COMPLETE:
                assert summary(trial) == summary(twin), "a kill changed what came after it"
    return Counter(trial.state.name for trial in trials)


def check_told_trials_are_there(drill: Drill, trials: list[FrozenTrial]) -> None:
    """Check every trial that a worker had told before it was killed."""
    texts = [path.read_text() for path in drill.witness.iterdir()]
    told = [json.loads(text) for text in texts if text]  # one who was killed had just opened it
    assert len(told) >= drill.n_kills / 2, "too few trials for the kills to mean anything"
    for record in told:
        trial = trials[record["number"]]
        assert trial.number == record["number"]
        assert trial.state == TrialState.COMPLETE, f"trial {trial.number} was told: {trial}"
        assert {"number": trial.number, "value": trial.value, **trial.user_attrs} == record


def check_bytes(drill: Drill, trials: list[FrozenTrial]) -> None:
    """Check the bytes that records point to, and that those of the whole population are there.

    The best is in it. Not `study.best_trial`: these runs converge until many trials have the very
    same value, and PostgreSQL names one of them at one time and another later.
    """
    needed = {trial.number for trial in populations(trials, RULES)[-1]}
    checkpoints = Training(drill.checkpoints).checkpoints
    for trial in trials:
        record = trial.system_attrs.get("epbt:checkpoint")
        if trial.state == TrialState.COMPLETE:
            assert record is not None, f"trial {trial.number} saved, but has no record"
        if record is None or record["trial"] != trial.number:  # a retry carries its predecessor's
            continue
        path = drill.checkpoints / record["artifact"]
        if drill.keep == "all" or trial.number in needed:
            assert path.exists(), f"the checkpoint of trial {trial.number} is gone"
        if path.exists():
            data = path.read_bytes()
            assert len(data) == record["size"]
            assert hashlib.sha256(data).hexdigest() == record["sha256"]
            weights = checkpoints.load(trial)["weights"]
            assert digest(weights) == trial.user_attrs["saved" if record["final"] else "partial"]


def check_inheritance(trials: list[FrozenTrial]) -> None:
    """Check what every child that came as far started from.

    That is what its parent saved or, for a retry, what its predecessor last saved on the way.
    """
    for trial in trials:
        record = lineage_of(trial)
        start = trial.user_attrs.get("start")
        if record is None or start is None or start["of"] != trial.number:
            continue  # it did not come as far; a retry carries its predecessor's attrs
        source, attr = record["parent"], "saved"
        if "retry_history" in trial.system_attrs:
            predecessor = trials[trial.system_attrs["retry_history"][-1]]
            if was_cut_off_after_a_partial_checkpoint(predecessor):
                source, attr = predecessor.number, "partial"
        expected = None if source is None else trials[source].user_attrs[attr]
        assert start["weights"] == expected, f"trial {trial.number}: not {attr} of {source}"


def was_cut_off_after_a_partial_checkpoint(trial: FrozenTrial) -> bool:
    """Return whether the trial's last record is one from within the generation."""
    record = trial.system_attrs.get("epbt:checkpoint")
    return record is not None and not record["final"]


def uninterrupted(drill: Drill, trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Return what one worker in memory makes of it, where the failed trials failed likewise."""
    with TemporaryDirectory() as folder:
        calm = replace(drill, storage="memory", folder=folder)
        shutil.copytree(drill.checkpoints, calm.checkpoints)  # retries go on from partial ones
        training = Training(calm.checkpoints)
        with _opened(drill) as original, _opened(calm) as study:
            # With its tokens it is a copy of the original: what failed trials recorded counts.
            for key, value in read_study_attrs(original).items():
                if key.startswith("epbt:study:"):
                    write_study_attr(study, key, value)
            for trial in trials:
                if trial.state == TrialState.FAIL:
                    study.add_trial(trial)
                    continue
                if history := trial.system_attrs.get("retry_history"):
                    resume(study, study.trials[history[-1]])
                twin = study.ask()
                study.tell(twin, training(twin))
            return study.get_trials()


def _main(settings: dict[str, Any]) -> None:
    warnings.simplefilter("error")
    # Two workers and three offspring: an offspring may have to choose among few.
    warnings.filterwarnings("ignore", "Generation .* breeds from")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    assert settings["keep"] in get_args(Keep)
    drill = Drill(**settings)
    sys.stdout.write(json.dumps(vars(_Killer(drill).run())))


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
