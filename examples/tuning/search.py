"""Random search, TPE with Hyperband, and constants: networks from scratch, one after the other."""

from __future__ import annotations

from pathlib import Path

import optuna
import torch
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from epbt_optuna import reopen
from examples.paper.evolution import open_study
from examples.paper.single import write_state
from examples.tuning.arms import SearchArm
from examples.tuning.bench import Bench
from examples.tuning.learners import random_state
from examples.tuning.steps import Snapshot


def run_search(bench: Bench, arm: SearchArm, folder: Path) -> None:
    """Train networks until the budget is used up; the last one may end early."""
    study = open_study(folder, bench.stopwatch)
    study.pruner = make_pruner(arm, bench.task.n_steps)
    while (cut_off := unfinished(study)) or not bench.log.full:
        run_trial(bench, arm, study, folder, cut_off)


def unfinished(study: optuna.Study) -> optuna.trial.FrozenTrial | None:
    """Return the trial that a killed run left behind."""
    running = study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    return running[0] if running else None


def run_trial(
    bench: Bench,
    arm: SearchArm,
    study: optuna.Study,
    folder: Path,
    cut_off: optuna.trial.FrozenTrial | None,
) -> None:
    """Train one network from start to end, or until it is pruned or the budget is used up."""
    number = len(study.get_trials(deepcopy=False)) if cut_off is None else cut_off.number
    study.sampler = make_sampler(arm, bench.seed, number)
    trial = study.ask() if cut_off is None else reopen(study, cut_off)
    params = dict(arm.constants) or bench.suggest(trial)
    checkpoint = folder / f"network-{number}.pt"
    snapshot, values = None, []
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        snapshot, values = Snapshot(saved["state"], saved["schedule"]), saved["values"]
    reported = cut_off.intermediate_values if cut_off else {}
    pruned = False
    # A kill may come between any two of these lines. What follows the last checkpoint is done
    # again, to the same result; but for a trial that Hyperband has pruned and nobody told so:
    # Optuna has then noted its rung, and lets it go on to the next one.
    while True:
        n_trained = len(values)
        if n_trained and n_trained not in reported:
            trial.report(values[-1], n_trained)
        pruned = n_trained > 0 and trial.should_prune()
        if pruned or n_trained == bench.task.n_steps or bench.log.full:
            break
        snapshot, value = bench.train(snapshot, params, number, n_trained, cosine=arm.cosine)
        values.append(value)
        bench.record(number, n_trained, value, snapshot)
        write_state(
            checkpoint,
            {"state": snapshot.state, "schedule": snapshot.schedule, "values": values},
        )
    if n_trained == bench.task.n_steps and not pruned:
        study.tell(trial, max(values))
    else:
        study.tell(trial, state=TrialState.PRUNED)
    checkpoint.unlink(missing_ok=True)


def make_pruner(arm: SearchArm, n_steps: int) -> BasePruner:
    """Make the pruner of an arm: Optuna's Hyperband as it comes, its resource being steps."""
    return HyperbandPruner(1, n_steps, 3) if arm.hyperband else NopPruner()


def make_sampler(arm: SearchArm, seed: int, number: int) -> BaseSampler:
    """Make the sampler of one trial, so that a run that was cut off ends like one that was not."""
    sampler = TPESampler if arm.sampler == "tpe" else RandomSampler
    return sampler(seed=random_state(seed, number))
