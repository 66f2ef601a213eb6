"""Random search and TPE: constants for the whole training, each trial a network from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from epbt_optuna import is_trainable, reopen
from examples.paper.data import N_CLASSES
from examples.paper.evolution import open_study
from examples.paper.genomes import loss_of, suggest
from examples.paper.kinds import SearchArm
from examples.paper.outcome import Outcome, Point, select
from examples.paper.single import train_from_scratch
from examples.paper.stopwatch import TimedSampler, add_seconds
from examples.paper.training import Progress, Workbench


def run_search(
    bench: Workbench, arm: SearchArm, folder: Path, progress: Progress
) -> tuple[Outcome, dict[str, float]]:
    """Run, or finish, the search of one arm on one seed."""
    study = open_study(folder)
    n_networks = bench.config.n_lineages
    n_trained = len(study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]))
    progress(n_trained * bench.config.n_epochs)
    while n_trained < n_networks:
        n_trained += run_trial(bench, arm, study, folder, progress)
    trials = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    best = max(trials, key=lambda trial: (trial.value, trial.number))
    outcome = Outcome(
        curve=[Point(*point) for point in best.user_attrs["curve"]],
        epochs_trained=len(trials) * bench.config.n_epochs,
        losses_explored=len(trials),
        ancestry=[{"trial": best.number, "fitness": best.value, "params": best.params}],
    )
    return outcome, add_seconds([trial.user_attrs["seconds"] for trial in trials])


def run_trial(
    bench: Workbench, arm: SearchArm, study: optuna.Study, folder: Path, progress: Progress
) -> bool:
    """Train a network with the next constants; return whether it was worth training."""
    trials = study.get_trials(deepcopy=False)
    cut_off = trials[-1] if trials and trials[-1].state == TrialState.RUNNING else None
    number = len(trials) if cut_off is None else cut_off.number
    study.sampler = TimedSampler(make_sampler(arm, bench.seed, number), bench.stopwatch)
    with bench.stopwatch.stage("record"):
        trial = study.ask() if cut_off is None else reopen(study, cut_off)
        params = suggest(trial, arm.tunes)
    if arm.trainable and "theta" in arm.tunes and not is_trainable(params, N_CLASSES):
        study.tell(trial, state=TrialState.PRUNED)
        return False
    checkpoint = folder / f"trial-{number}.pt"
    curve = train_from_scratch(
        bench,
        loss_of(params, bench.n_samples, bench.device),
        checkpoint,
        progress,
        number=number,
        ema=arm.ema,
        rate=params.get("rate", 1.0),
    )
    record: dict[str, Any] = {"curve": curve, "seconds": bench.stopwatch.lap()}
    for name, value in record.items():
        trial.set_user_attr(name, value)
    with bench.stopwatch.stage("record"):
        study.tell(trial, select(curve).validation)
    checkpoint.unlink()
    return True


def make_sampler(arm: SearchArm, seed: int, number: int) -> BaseSampler:
    """Make the sampler of one trial, so that a run that was cut off ends like one that was not."""
    state = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    if arm.sampler == "random":
        return RandomSampler(seed=state)
    return TPESampler(seed=state)
