"""A long run: many generations with checkpoints, and what it needs of the machine meanwhile.

As a program, `python -m tests.drills.generations`, it runs in a process of its own, so that what
is measured is the run's.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
import torch

from epbt_optuna import CheckpointStore, EPBTSampler
from tests.drills.processes import run_program
from tests.drills.storages import opened_study
from tests.replay import Rules

__all__ = ["Drill", "Usage", "check_flat", "run"]

_RULES = Rules(4, 2, optuna.study.StudyDirection.MAXIMIZE)
_WEIGHTS = 25_000  # 100 kB


@dataclass(frozen=True)
class Drill:
    """What to run.

    Attributes:
        storage: As `opened_study` takes it.
        folder: Of the checkpoints.
        n_generations: How many, of 4 individuals with 2 elites.
        warm_up: Generations before the first look.
    """

    storage: str
    folder: str
    n_generations: int
    warm_up: int = 10


@dataclass(frozen=True)
class Usage:
    """What a run holds at a moment.

    Attributes:
        trials: Run by then.
        descriptors: Open files.
        memory: Resident bytes.
        files: In the folder of checkpoints.
        folder: Their bytes.
    """

    trials: int
    descriptors: int
    memory: int
    files: int
    folder: int


def run(drill: Drill) -> list[Usage]:
    """Run the drill in a process of its own; return what it held after the warm-up and later.

    Raises:
        subprocess.CalledProcessError: It failed; why is on the standard error stream.
    """
    answer: list[dict[str, Any]] = run_program("tests.drills.generations", asdict(drill))
    return [Usage(**usage) for usage in answer]


def check_flat(usages: list[Usage]) -> None:
    """Check that nothing grew but the study itself, of which every storage keeps a copy in memory.

    Raises:
        AssertionError: It did. A checkpoint has 100 kB; one that stayed, mapped or open, would
            exceed the bounds.
    """
    first, *later = usages
    for usage in later:
        assert usage.descriptors == first.descriptors, f"{first} {usage}"
        assert usage.files <= _RULES.population_size + 1, f"{usage}"  # the population, the best
        assert usage.folder <= (_RULES.population_size + 1) * 110_000, f"{usage}"
        grown = usage.memory - first.memory
        assert grown < 2**22 + 10_000 * (usage.trials - first.trials), f"{first} {usage}"


def _usage(folder: Path, n_trials: int) -> Usage:
    gc.collect()
    status = Path("/proc/self/status").read_text()
    memory = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    sizes = [path.stat().st_size for path in folder.iterdir()]
    return Usage(
        trials=n_trials,
        descriptors=len(os.listdir("/proc/self/fd")),
        memory=int(memory.split()[1]) * 1024,
        files=len(sizes),
        folder=sum(sizes),
    )


def _main(drill: Drill) -> list[Usage]:
    folder = Path(drill.folder)
    checkpoints = CheckpointStore(folder)
    sampler = EPBTSampler(_RULES.population_size, n_elites=_RULES.n_elites, seed=0)

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("rate", 0.0, 1.0)
        state = checkpoints.inherit(trial)
        weights = torch.zeros(_WEIGHTS) if state is None else state["weights"]
        weights = weights + rate * (1.0 - weights)
        checkpoints.save(trial, {"weights": weights})
        return -abs(rate - 0.5)

    looks = [drill.n_generations * tenth // 10 for tenth in range(1, 11)]
    usages = []
    with opened_study(drill.storage, "generations", _RULES, sampler) as study:
        collector = checkpoints.collector()
        done = 0
        for generations in [drill.warm_up, *looks]:
            n_trials = sampler.n_trials(generations)
            if n_trials > done:
                study.optimize(objective, n_trials=n_trials - done, callbacks=[collector])
                done = n_trials
                usages.append(_usage(folder, done))
    return usages


if __name__ == "__main__":
    warnings.simplefilter("error")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    settings = json.loads(sys.argv[1])
    sys.stdout.write(json.dumps([asdict(usage) for usage in _main(Drill(**settings))]))
