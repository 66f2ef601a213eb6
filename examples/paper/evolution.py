"""EPBT and PBT: one study a job; cut off at any trial, it goes on with that very trial."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from epbt_optuna import (
    CheckpointStore,
    EPBTSampler,
    GaussianMutation,
    PBTSampler,
    TournamentSelection,
    Truncation,
    UniformCrossover,
    batched,
    is_trainable,
    reopen,
    restore_optimizer,
)
from epbt_optuna.journal import journal_storage
from epbt_optuna.lineage import ancestry
from examples.paper import ExperimentError
from examples.paper.configs import Config
from examples.paper.data import N_CLASSES, with_more_validation
from examples.paper.generations import mate_weight_of, sgd_of, train_generation
from examples.paper.genomes import founders, loss_genes, loss_of, search_space, suggest
from examples.paper.kinds import EPBTArm, PBTArm
from examples.paper.losses import go_on_with, memory_of
from examples.paper.outcome import Outcome, Point, select
from examples.paper.stopwatch import Stopwatch, TimedSampler, add_seconds
from examples.paper.training import Progress, Workbench, set_sgd

Sampler = EPBTSampler | PBTSampler


def run_evolution(
    bench: Workbench,
    arm: EPBTArm | PBTArm,
    folder: Path,
    progress: Progress,
    *,
    in_batches: bool = False,
) -> tuple[Outcome, dict[str, float]]:
    """Run, or finish, the study of one arm on one seed; a generation at once if `in_batches`."""
    sampler = make_sampler(arm, bench.config, bench.seed)
    if isinstance(arm, EPBTArm):
        bench = bench_of(arm, bench)
    config = bench.config
    study = open_study(folder)
    check_nothing_lost(study, folder)
    study.sampler = TimedSampler(sampler, bench.stopwatch)
    enqueue_founders(study, arm, sampler.population_size, bench.seed)
    checkpoints = CheckpointStore(folder / "checkpoints")
    collect = checkpoints.collector()
    for number in range(n_ended := n_trials_ended(study)):
        record_generation(bench, study, sampler, checkpoints, number)
    progress(n_ended * config.epochs_per_generation)

    def conclude(study: optuna.Study, ended: FrozenTrial) -> None:
        record_generation(bench, study, sampler, checkpoints, ended.number)
        with bench.stopwatch.stage("collect"):
            collect(study, ended)
        progress(config.epochs_per_generation)

    if in_batches:
        batched.optimize(
            study,
            partial(train_generation, bench=bench, arm=arm),
            n_generations=config.n_generations,
            checkpoints=checkpoints,
            device=bench.device,
            callbacks=[conclude],
        )
    else:
        n_trials = sampler.n_trials(config.n_generations)
        for trial in remaining_trials(study, n_trials, bench.stopwatch):
            fitness = train_individual(bench, arm, sampler, trial, checkpoints)
            trial.set_user_attr("seconds", bench.stopwatch.lap())
            with bench.stopwatch.stage("record"):
                ended = study.tell(trial, fitness)
            conclude(study, ended)
    trials = study.get_trials(deepcopy=False)
    laps = [trial.user_attrs["seconds"] for trial in trials]
    return outcome_of(study, trials, sampler, config), add_seconds(laps)


def bench_of(arm: EPBTArm, bench: Workbench) -> Workbench:
    """Return the bench with the images and the generations that an arm has."""
    config = bench.config.divided(arm.population_size, arm.n_generations)
    return replace(
        bench, config=config, split=with_more_validation(bench.split, arm.more_validation)
    )


def make_sampler(arm: EPBTArm | PBTArm, config: Config, seed: int) -> Sampler:
    """Make the sampler of an arm, its population as large as the config's epochs allow."""
    if isinstance(arm, PBTArm):
        p = config.population_size if arm.paper_population else config.n_lineages
        return PBTSampler(p, search_space=search_space(arm.tunes), seed=seed)
    p = arm.population_size or config.population_size_with(
        arm.elites, train_elites=arm.train_elites
    )
    return EPBTSampler(
        p,
        n_elites=int(arm.elites * p),
        selection=(
            TournamentSelection(arm.tournament_size)
            if arm.truncation is None
            else Truncation(arm.truncation)
        ),
        mutation=GaussianMutation(arm.sigma, arm.reset_probability),
        crossover=UniformCrossover(arm.crossover),
        train_elites=arm.train_elites,
        fitness_smoothing=arm.fitness_smoothing,
        feasible=(
            partial(is_trainable, n_classes=N_CLASSES)
            if arm.trainable and "theta" in arm.tunes
            else None
        ),
        search_space=search_space(arm.tunes),
        seed=seed,
    )


def open_study(folder: Path) -> optuna.Study:
    """Create or reopen the study of a job."""
    return optuna.create_study(
        study_name=folder.name,
        direction="maximize",
        storage=journal_storage(folder / "study.log"),
        load_if_exists=True,
    )


def check_nothing_lost(study: optuna.Study, folder: Path) -> None:
    """Raise if an error has ended trials of an earlier run: the arm would not have its budget.

    Raises:
        ExperimentError: It has. Trials that a kill cut off are not lost, they go on.
    """
    lost = study.get_trials(deepcopy=False, states=[TrialState.FAIL, TrialState.PRUNED])
    if lost:
        raise ExperimentError(
            f"Trial {lost[0].number} in {folder} was ended by an error: delete that folder, "
            "and the job is run anew."
        )


def enqueue_founders(
    study: optuna.Study, arm: EPBTArm | PBTArm, population_size: int, seed: int
) -> None:
    """Enqueue the founders that are given and were not enqueued before a kill."""
    n_trials = len(study.get_trials(deepcopy=False))
    for params in founders(arm, population_size, seed)[n_trials:]:
        study.enqueue_trial(params)


def n_trials_ended(study: optuna.Study) -> int:
    return sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))


def remaining_trials(study: optuna.Study, n_trials: int, stopwatch: Stopwatch) -> Iterator[Trial]:
    """Yield the trials yet to be run, first the one that a killed run left behind.

    That one keeps its number, and so its parent and its random stream: a run that was cut off
    ends like one that was not.
    """
    for cut_off in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        yield reopen(study, cut_off)
    for _ in range(n_trials_ended(study), n_trials):
        with stopwatch.stage("record"):
            trial = study.ask()
        yield trial


def train_individual(
    bench: Workbench,
    arm: EPBTArm | PBTArm,
    sampler: Sampler,
    trial: Trial,
    checkpoints: CheckpointStore,
) -> float:
    """Train one individual for one generation, from its parent's weights; return its fitness."""
    stopwatch, config = bench.stopwatch, bench.config
    with stopwatch.stage("record"):
        params = suggest(trial, arm.tunes)
    normalize = isinstance(arm, EPBTArm) and arm.normalize
    loss_fn = loss_of(params, bench.n_samples, bench.device, normalize=normalize)
    with stopwatch.stage("inherit"):
        state = checkpoints.inherit(
            trial, map_location=bench.device, mate_weight=mate_weight_of(arm)
        )
        network = bench.network(trial.number) if state is None else bench.scratch
        optimizer = bench.optimizer(network)
        epochs_of_weights: float = 0
        if state is not None:
            network.load_state_dict(state["network"])
            restore_optimizer(optimizer, state["optimizer"])
            go_on_with(loss_fn, state)
            epochs_of_weights = state["epochs"]
    for epoch, share in config.passes(sampler.generation_of(trial.number)):
        set_sgd(optimizer, **sgd_of(params, bench.learning_rate(epoch)))
        generator = bench.generator(trial.number, epoch)
        bench.train_epoch(network, optimizer, loss_fn, bench.split.train, generator, share)
    fitness = bench.validation_accuracy(network)
    with stopwatch.stage("save"):
        epochs_of_weights += config.epochs_per_generation
        trial.set_user_attr("epochs", epochs_of_weights)
        checkpoints.save(
            trial,
            {
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "epochs": epochs_of_weights,
                **memory_of(loss_fn),
            },
        )
    return fitness


def record_generation(
    bench: Workbench,
    study: optuna.Study,
    sampler: Sampler,
    checkpoints: CheckpointStore,
    number: int,
) -> None:
    """Once a generation has ended, measure the test accuracy of its fittest.

    Only that one's: the paper measures everybody's, for comparison only, which here would take
    as long as training. What it is the fittest by, smoothed or not, is what the arm stops by: so
    the network that is chosen in the end is `sampler.fittest(study)`.
    """
    generation = sampler.generation_of(number)
    key = f"fittest of generation {generation}"
    if number + 1 != sampler.n_trials(generation + 1) or key in study.user_attrs:
        return
    fittest = sampler.get_individuals(study, generation)[0]
    before = study.user_attrs.get(f"fittest of generation {generation - 1}", {})
    if before.get("trial") == fittest.number:
        test = before["test"]
    else:
        with bench.stopwatch.stage("test"):
            trial = study.get_trials(deepcopy=False)[fittest.number]
            state = checkpoints.load(trial, map_location=bench.device)
            bench.scratch.load_state_dict(state["network"])
        test = bench.test_accuracy(bench.scratch)
    with bench.stopwatch.stage("record"):
        record = {"trial": fittest.number, "validation": fittest.fitness, "test": test}
        study.set_user_attr(key, record)


def outcome_of(
    study: optuna.Study, trials: list[FrozenTrial], sampler: Sampler, config: Config
) -> Outcome:
    """Read the outcome from a study that has ended."""
    attrs = study.user_attrs
    fittest = [attrs[f"fittest of generation {g}"] for g in range(config.n_generations)]
    curve = [
        Point((g + 1) * config.epochs_per_generation, record["validation"], record["test"])
        for g, record in enumerate(fittest)
    ]
    chosen = trials[fittest[curve.index(select(curve))]["trial"]]
    return Outcome(
        curve=curve,
        epochs_trained=round(len(trials) * config.epochs_per_generation),
        losses_explored=len({loss_genes(trial.params) for trial in trials}),
        ancestry=[ancestor(trial, sampler) for trial in ancestry(study, chosen)],
    )


def ancestor(trial: FrozenTrial, sampler: Sampler) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "generation": sampler.generation_of(trial.number),
        "epochs": trial.user_attrs["epochs"],
        "fitness": trial.value,
        "params": dict(sorted(trial.params.items())),
    }
