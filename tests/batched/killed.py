"""A study that is trained in batches until its process kills itself; also as a program.

`python -m tests.batched.killed FOLDER` is killed in the middle of generation 1. The weights of a
trial are a function of its parent's weights and its own rate, which `check_weights` computes anew.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import optuna
import torch
from optuna.trial import TrialState
from torch import Tensor

from epbt_optuna import CheckpointStore, EPBTSampler
from epbt_optuna.batched import Generation, optimize
from epbt_optuna.journal import journal_storage
from tests.batched.separate import RULES
from tests.replay import lineage_of

__all__ = ["check_weights", "main", "objectives", "open_study", "store"]

_TARGET = torch.linspace(-1, 1, 8, dtype=torch.float64)


class _Vectors:
    """A vector for each member, moved towards the target."""

    def __init__(self, n: int) -> None:
        self.weight = torch.zeros(n, 8, dtype=torch.float64)

    def member_state_dict(self, i: int) -> dict[str, Tensor]:
        return {"weight": self.weight[i]}

    def load_member_state_dict(self, i: int, state: Mapping[str, Tensor]) -> None:
        self.weight[i] = state["weight"]


def open_study(folder: Path) -> optuna.Study:
    """Create the study, or open it again."""
    folder.mkdir(exist_ok=True)
    return optuna.create_study(
        study_name="study",
        storage=journal_storage(folder / "log"),
        sampler=EPBTSampler(RULES.population_size, n_elites=RULES.n_elites, seed=0),
        direction="maximize",
        load_if_exists=True,
    )


def store(folder: Path) -> CheckpointStore:
    """Return its checkpoints."""
    return CheckpointStore(folder / "checkpoints")


def objectives(
    folder: Path, *, dies: bool = False
) -> tuple[Callable[[optuna.Trial], float], Callable[[Generation], Tensor]]:
    """Return the objective for one trial, and that for a batch, which may die in generation 1."""
    checkpoints = store(folder)

    def one(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("rate", 0.01, 0.5)
        state = checkpoints.inherit(trial)
        weight = torch.zeros(8, dtype=torch.float64) if state is None else state["model"]["weight"]
        epoch = 0 if state is None else state["epoch"]
        weight = _trained(weight, rate)
        checkpoints.save(trial, {"model": {"weight": weight}, "epoch": epoch + 1})
        return -float((weight - _TARGET).abs().sum())

    def batch(generation: Generation) -> Tensor:
        rate = torch.tensor([_rate(trial) for trial in generation.trials], dtype=torch.float64)
        model = _Vectors(len(generation))
        epoch = generation.inherit(model=model, epoch=0)["epoch"]
        model.weight = _trained(model.weight, rate[:, None])
        generation.save(model=model, epoch=epoch + 1)
        if dies and generation.number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return -(model.weight - _TARGET).abs().sum(1)

    return one, batch


def check_weights(study: optuna.Study, folder: Path) -> None:
    """Check every checkpoint against what its line of descent makes of the founder's weights."""
    checkpoints = store(folder)
    expected: dict[int, tuple[Tensor, int]] = {}
    for trial in study.get_trials(states=(TrialState.COMPLETE,)):
        record = lineage_of(trial)
        assert record is not None
        weight, epoch = torch.zeros(8, dtype=torch.float64), 0
        if record["parent"] is not None:
            weight, epoch = expected[record["parent"]]
        expected[trial.number] = _trained(weight, trial.params["rate"]), epoch + 1
        state = checkpoints.load(trial)
        torch.testing.assert_close(state["model"]["weight"], expected[trial.number][0])
        assert state["epoch"] == expected[trial.number][1]


def _rate(trial: optuna.Trial) -> float:
    return trial.suggest_float("rate", 0.01, 0.5)


def _trained(weight: Tensor, rate: float | Tensor) -> Tensor:
    return weight + rate * (_TARGET - weight)


def main(folder: Path) -> None:
    """Train until the process is killed."""
    _, batch = objectives(folder, dies=True)
    optimize(open_study(folder), batch, n_generations=5, checkpoints=store(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
