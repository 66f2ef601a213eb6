"""What works without torch, and what the rest says; run where torch is not installed."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna

import epbt_optuna
from epbt_optuna import (
    CheckpointStore,
    EPBTPruner,
    EPBTSampler,
    parallel,
    restore_optimizer,
    restore_scheduler,
)
from epbt_optuna.journal import journal_storage
from epbt_optuna.lineage import Schedule, ancestry, lineage_graph, loss_schedule

N_GENERATIONS = 4
checkpoints = CheckpointStore("checkpoints")


def objective(trial: optuna.Trial) -> float:
    """Append the trial's number to the file that its parent left."""
    rate = trial.suggest_float("rate", 0.0, 1.0)
    for i in range(8):
        trial.suggest_float(f"theta_{i}", -1.0, 1.0)  # as for a TaylorGLO loss
    parent = checkpoints.inherit_path(trial, f"parents/{trial.study.study_name}-{trial.number}")
    numbers = [] if parent is None else parent.read_text().split()
    file = Path(f"{trial.study.study_name}-{trial.number}")
    file.write_text(" ".join([*numbers, str(trial.number)]))
    trial.set_user_attr("numbers", file.read_text())
    trial.report(rate, len(numbers))
    if trial.should_prune():
        raise optuna.TrialPruned
    checkpoints.save_path(trial, file)
    return rate


def run(name: str, **settings: Any) -> optuna.Study:
    """Run a study, by `parallel.optimize` if there are settings for it."""
    sampler = EPBTSampler(population_size=6, seed=0)
    study = optuna.create_study(
        study_name=name,
        storage=journal_storage("study.log"),
        direction="maximize",
        sampler=sampler,
        pruner=EPBTPruner(),
    )
    if settings:
        parallel.optimize(study, objective, n_generations=N_GENERATIONS, **settings)
    else:
        study.optimize(objective, n_trials=sampler.n_trials(N_GENERATIONS))
    return study


def check_study(study: optuna.Study) -> None:
    """Check that weights went along the lineage, and what reads it."""
    line = [trial.number for trial in ancestry(study)]
    assert study.best_trial.user_attrs["numbers"] == " ".join(map(str, line))
    assert len(line) > 1
    assert set(lineage_graph(study)) == {trial.number for trial in study.trials}
    Schedule.from_study(study).save("schedule.json")
    assert [step.trial for step in Schedule.load("schedule.json").steps] == line
    assert checkpoints.collect(study)


def check_modules() -> None:
    """Check that modules can be imported, but for those that only compute with tensors."""
    modules = pkgutil.walk_packages(epbt_optuna.__path__, "epbt_optuna.")
    without = {module.name for module in modules if missing_package(module.name) == "torch"}
    assert without == {
        "epbt_optuna.batched",
        "epbt_optuna.checkpoints.arrays",
        "epbt_optuna.checkpoints.averages",
        "epbt_optuna.checkpoints.contents",
        "epbt_optuna.checkpoints.memory",
        "epbt_optuna.checkpoints.optimizers",
        "epbt_optuna.checkpoints.states",
        "epbt_optuna.integrations.training",
        "epbt_optuna.losses",
    }, without


def missing_package(module: str) -> str | None:
    """Return the package that a module lacks; other extras are not installed either."""
    try:
        importlib.import_module(module)
    except ImportError as error:
        return error.name
    return None


def check_says_which_extra(what: str, call: Callable[[], object]) -> None:
    """Check that a call that needs torch says so."""
    try:
        call()
    except ImportError as error:
        message = str(error)
    assert what in message, message
    assert "pip install 'epbt-optuna[torch]'" in message, message


def main() -> None:
    """Check all of it."""
    assert importlib.util.find_spec("torch") is None
    check_modules()
    check_study(run("serial"))
    check_study(run("threads", engine="thread", devices=["cpu"]))
    check_study(run("processes", workers=2))

    study = optuna.load_study(study_name="serial", storage=journal_storage("study.log"))
    trial = study.ask()
    check_says_which_extra("CheckpointStore.save", lambda: checkpoints.save(trial, {"epoch": 1}))
    check_says_which_extra("inherit", lambda: checkpoints.load(study.best_trial))
    check_says_which_extra("TaylorGLOLoss", lambda: epbt_optuna.TaylorGLOLoss)
    check_says_which_extra("current_device", parallel.current_device)
    check_says_which_extra("cuda:0", lambda: run("cuda", devices=["cuda:0"]))
    check_says_which_extra("loss_schedule", lambda: loss_schedule(study))
    optimizer: Any = _Optimizer()
    check_says_which_extra("restore_optimizer", lambda: restore_optimizer(optimizer, {}, lr=0.1))
    scheduler: Any = None
    check_says_which_extra("restore_scheduler", lambda: restore_scheduler(scheduler, 1))


class _Optimizer:
    def __init__(self) -> None:
        self.param_groups = [{"lr": 1.0}]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load nothing."""


if __name__ == "__main__":  # worker processes import this file
    main()
