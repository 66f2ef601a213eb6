"""EPBT and PBT: one study a job; cut off at any trial, it goes on with that very trial."""

from __future__ import annotations

from pathlib import Path

from epbt_optuna import (
    CheckpointStore,
    EPBTSampler,
    GaussianMutation,
    PBTSampler,
    TournamentSelection,
)
from examples.paper.evolution import open_study, remaining_trials
from examples.tuning.arms import EPBTArm, PBTArm
from examples.tuning.bench import Bench
from examples.tuning.steps import Snapshot
from examples.tuning.tasks import Task


def run_population(bench: Bench, arm: EPBTArm | PBTArm, folder: Path) -> None:
    """Run, or finish, the study of one arm on one seed."""
    sampler = make_sampler(arm, bench.task, bench.seed)
    study = open_study(folder)
    study.sampler = sampler
    checkpoints = CheckpointStore(folder / "checkpoints")
    collect = checkpoints.collector()
    cosine = isinstance(arm, EPBTArm) and arm.cosine
    mate_weight = arm.mate_weight if isinstance(arm, EPBTArm) else 0.0
    for trial in remaining_trials(study, sampler.n_trials(bench.task.n_steps), bench.stopwatch):
        params = bench.suggest(trial)
        inherited = checkpoints.inherit(trial, mate_weight=mate_weight)
        before = Snapshot({}, []) if inherited is None else Snapshot(**inherited)
        generation = sampler.generation_of(trial.number)
        snapshot, fitness = bench.train(before, params, trial.number, generation, cosine=cosine)
        checkpoints.save(trial, {"state": snapshot.state, "schedule": snapshot.schedule})
        bench.record(trial.number, generation, fitness, snapshot)
        # Whatever a kill cuts off until here, the next run trains again from the same parent with
        # the same random numbers.
        ended = study.tell(trial, fitness)
        collect(study, ended)


def make_sampler(arm: EPBTArm | PBTArm, task: Task, seed: int) -> EPBTSampler | PBTSampler:
    """Make the sampler of an arm, its population of the size that uses up the task's steps.

    Elites that stand still are not trained: G generations of p members with k = p/2 elites are
    p + (G − 1)·(p − k) trials, so p = 2·budget/(G + 1).
    """
    if isinstance(arm, PBTArm):
        return PBTSampler(task.n_members, search_space=task.space, seed=seed)
    p = task.n_members if arm.train_elites else 2 * task.budget // (task.n_steps + 1)
    return EPBTSampler(
        p,
        n_elites=p // 2,
        selection=TournamentSelection(arm.tournament_size),
        mutation=GaussianMutation(arm.sigma, arm.reset_probability),
        train_elites=arm.train_elites,
        fitness_smoothing=arm.fitness_smoothing,
        search_space=task.space,
        seed=seed,
    )
