"""Random search, TPE with Hyperband, and constants: networks from scratch, one after the other.

The study is in memory. A job that was cut off tells it again what its log of steps says: pruners
take notes when they are asked, so one that was asked before a kill cannot be asked once more.
"""

from __future__ import annotations

from pathlib import Path

import optuna
import torch
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from examples.paper.single import write_state
from examples.tuning.arms import SearchArm
from examples.tuning.bench import Bench
from examples.tuning.learners import random_state
from examples.tuning.steps import Snapshot


def run_search(bench: Bench, arm: SearchArm, folder: Path) -> None:
    """Train networks until the budget is used up; the last one may end early."""
    study = optuna.create_study(
        study_name=folder.name,  # decides, with a trial's number, on its bracket of Hyperband's
        direction="maximize",
        pruner=make_pruner(arm, bench.task.n_steps),
    )
    number = 0
    while not bench.log.full:
        run_trial(bench, arm, study, number, folder / "network.pt")
        number += 1


def run_trial(
    bench: Bench, arm: SearchArm, study: optuna.Study, number: int, checkpoint: Path
) -> None:
    """Train one network from start to end, or until it is pruned or the budget is used up."""
    study.sampler = make_sampler(arm, bench.seed, number)
    trial = study.ask()
    params = dict(arm.constants) or bench.suggest(trial)
    values = bench.log.validations(number)
    # A step is saved, then written down: what is saved is as far as the log, or one step ahead.
    snapshot, value = read_checkpoint(checkpoint, number)
    for step in range(bench.task.n_steps):
        if step == len(values):
            if step == len(snapshot.schedule):
                snapshot, value = bench.train(snapshot, params, number, step, cosine=arm.cosine)
                network = {"state": snapshot.state, "schedule": snapshot.schedule}
                write_state(checkpoint, {"number": number, "network": network, "value": value})
            bench.record(number, step, value, snapshot)
            values.append(value)
        trial.report(values[step], step + 1)
        if trial.should_prune() or bench.log.full:
            study.tell(trial, state=TrialState.PRUNED)
            return
    study.tell(trial, max(values))


def read_checkpoint(checkpoint: Path, number: int) -> tuple[Snapshot, float]:
    """Return the network that a killed run left behind, and what it is worth; else a fresh one."""
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        if saved["number"] == number:
            return Snapshot(**saved["network"]), saved["value"]
    return Snapshot({}, []), float("nan")


def make_pruner(arm: SearchArm, n_steps: int) -> BasePruner:
    """Make the pruner of an arm: Optuna's Hyperband as it comes, its resource being steps."""
    return HyperbandPruner(1, n_steps, 3) if arm.hyperband else NopPruner()


def make_sampler(arm: SearchArm, seed: int, number: int) -> BaseSampler:
    """Make the sampler of one trial, so that a run that was cut off ends like one that was not."""
    sampler = TPESampler if arm.sampler == "tpe" else RandomSampler
    return sampler(seed=random_state(seed, number))
