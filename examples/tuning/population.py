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
from examples.paper import ExperimentError
from examples.paper.configs import trials_per_individual
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
    n_steps = steps_per_generation(arm, bench.task)
    n_trials = sampler.n_trials(bench.task.n_steps // n_steps)
    for trial in remaining_trials(study, n_trials, bench.stopwatch):
        params = bench.suggest(trial)
        inherited = checkpoints.inherit(trial, mate_weight=mate_weight)
        snapshot = Snapshot({}, []) if inherited is None else Snapshot(**inherited)
        first = sampler.generation_of(trial.number) * n_steps
        for step in range(first, first + n_steps):
            snapshot, fitness = bench.train(snapshot, params, trial.number, step, cosine=cosine)
            bench.record(trial.number, step, fitness, snapshot)
        checkpoints.save(trial, {"state": snapshot.state, "schedule": snapshot.schedule})
        # Whatever a kill cuts off until here, the next run trains again from the same parent with
        # the same random numbers; steps that were recorded count once.
        ended = study.tell(trial, fitness)
        collect(study, ended)


def make_sampler(arm: EPBTArm | PBTArm, task: Task, seed: int) -> EPBTSampler | PBTSampler:
    """Make the sampler of an arm, its population of the size that uses up the task's steps."""
    if isinstance(arm, PBTArm):
        return PBTSampler(task.n_members, search_space=task.space, seed=seed)
    n_steps = steps_per_generation(arm, task)
    n_trained = trials_per_individual(
        task.n_steps // n_steps, arm.elites, train_elites=arm.train_elites
    )
    p = round(task.budget / (n_steps * n_trained))
    return EPBTSampler(
        p,
        n_elites=int(arm.elites * p),
        selection=TournamentSelection(arm.tournament_size),
        mutation=GaussianMutation(arm.sigma, arm.reset_probability),
        train_elites=arm.train_elites,
        fitness_smoothing=arm.fitness_smoothing,
        search_space=task.space,
        seed=seed,
    )


def steps_per_generation(arm: EPBTArm | PBTArm, task: Task) -> int:
    """Return the steps of a generation; PBT's is one.

    Raises:
        ExperimentError: The task's steps are not a multiple of them.
    """
    n_steps = arm.steps_per_generation if isinstance(arm, EPBTArm) else 1
    if task.n_steps % n_steps:
        raise ExperimentError(
            f"steps_per_generation must divide the {task.n_steps} steps of task {task.name!r} "
            f"but got {n_steps}."
        )
    return n_steps
