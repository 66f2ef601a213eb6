"""Many writers: processes that share one study, with next to nothing to do but to write to it.

As a program, `python -m tests.drills.writers`, it forks the writers from a process of its own.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import warnings
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState

from epbt_optuna import EPBTSampler
from tests.drills.processes import finish, forked, run_program
from tests.drills.storages import opened_study
from tests.replay import Rules, check_lineage

__all__ = ["Drill", "Writing", "check_writing", "run"]


@dataclass(frozen=True)
class Drill:
    """What to run.

    Attributes:
        storage: As `open_storage` takes it.
        n_processes: At work at a time.
        n_trials: Of each process.
        population_size: Individuals in a population, half of them elites.
    """

    storage: str
    n_processes: int
    n_trials: int
    population_size: int = 40

    @property
    def rules(self) -> Rules:
        """What the run is started with."""
        return Rules(self.population_size, self.population_size // 2, StudyDirection.MAXIMIZE)


@dataclass(frozen=True)
class Writing:
    """What happened.

    Attributes:
        numbers: Of the trials that each process made.
        seconds: From the moment all were ready.
    """

    numbers: list[list[int]]
    seconds: float


def run(drill: Drill) -> Writing:
    """Run the drill in a process of its own and return what happened.

    Raises:
        subprocess.CalledProcessError: A writer failed; why is on the standard error stream.
    """
    return Writing(**run_program("tests.drills.writers", asdict(drill)))


def check_writing(drill: Drill, writing: Writing) -> None:
    """Check that every trial is there once, and the populations by the rules.

    Raises:
        AssertionError: They are not.
    """
    with _opened(drill) as study:
        trials = study.get_trials()
        n_trials = drill.n_processes * drill.n_trials
        assert sorted(n for numbers in writing.numbers for n in numbers) == list(range(n_trials))
        assert [trial.number for trial in trials] == list(range(n_trials))
        for trial in trials:
            assert trial.state == TrialState.COMPLETE, f"{trial}"
            assert trial.value == _value(trial.params), "the value of another trial"
        populations = check_lineage(trials, drill.rules, stragglers=True)
        sampler = study.sampler
        assert isinstance(sampler, EPBTSampler)
        for generation, population in enumerate(populations):
            found = [trial.number for trial in sampler.get_population(study, generation)]
            assert found == [trial.number for trial in population], f"population {generation}"


def _opened(drill: Drill) -> AbstractContextManager[optuna.Study]:
    rules = drill.rules
    sampler = EPBTSampler(rules.population_size, n_elites=rules.n_elites, seed=0)
    return opened_study(drill.storage, "writers", rules, sampler)


def _warm_up(drill: Drill) -> None:
    """Import now what a writer would import late."""
    if drill.storage.startswith("postgresql"):
        importlib.import_module("psycopg")
    _create(replace(drill, storage="sqlite://"))


def _create(drill: Drill) -> None:
    with _opened(drill):
        pass


def _objective(trial: optuna.Trial) -> float:
    trial.suggest_float("x", -1, 1)
    trial.suggest_int("y", 0, 9)
    return _value(trial.params)


def _value(params: dict[str, Any]) -> float:
    return float(params["y"] - params["x"] ** 2)


def _write(drill: Drill, result: Path, ready: int, start: int) -> None:
    """Say that all is open, wait for the start, write, and leave the numbers in a file."""
    numbers: list[int] = []
    with _opened(drill) as study:
        os.write(ready, b".")
        os.close(ready)
        os.read(start, 1)
        study.optimize(
            _objective,
            n_trials=drill.n_trials,
            callbacks=[lambda _, trial: numbers.append(trial.number)],
        )
    result.write_text(json.dumps(numbers))


def _main(drill: Drill) -> None:
    ready, say_ready = os.pipe()
    start, say_start = os.pipe()
    with TemporaryDirectory() as folder:
        _warm_up(drill)
        finish(forked(lambda: _create(drill)))
        results = [Path(folder, str(index)) for index in range(drill.n_processes)]

        def write(result: Path) -> None:
            os.close(say_start)
            _write(drill, result, say_ready, start)

        processes = [forked(partial(write, result)) for result in results]
        os.close(say_ready)
        while os.read(ready, 1):  # until all are ready, or have died
            pass
        begin = time.perf_counter()
        os.close(say_start)
        for process in processes:
            finish(process)
        seconds = time.perf_counter() - begin
        numbers = [json.loads(result.read_text()) for result in results]
    sys.stdout.write(json.dumps(asdict(Writing(numbers, seconds))))


if __name__ == "__main__":
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "Generation .* breeds from")  # a process may be held up
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    _main(Drill(**json.loads(sys.argv[1])))
