"""All seeds of an experiment side by side: worker processes, one progress bar, the tables."""

from __future__ import annotations

import math
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from itertools import groupby
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from statistics import mean, stdev
from typing import Any, TypeVar

import optuna
import torch
from filelock import FileLock, Timeout
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from epbt_optuna import TaylorGLOLoss, cross_entropy_like
from epbt_optuna.lineage import ancestry
from epbt_optuna.visualization import (
    plot_generations,
    plot_lineage,
    plot_loss_functions,
    plot_schedule,
)
from examples.evolving import open_study, run_seed
from examples.label_noise import (
    SINGLE_NETWORKS,
    Settings,
    accuracy,
    make_optimizer,
    train_epoch,
)

T = TypeVar("T")
PICTURES: dict[str, Callable[[optuna.Study], Any]] = {
    "lineage": plot_lineage,
    "generations": plot_generations,
    "schedule": plot_schedule,
    "losses": plot_loss_functions,
}
# With the longest progress that is reported it fits into 80 columns.
BAR = "{percentage:3.0f}%|{bar:8}| {elapsed}<{remaining}{postfix}"

_reports: Queue[tuple[float, str]]  # in a worker process: to its driver


def report(n_epochs: float, progress: str = "") -> None:
    """Tell the driver of trained epochs; see `examples.label_noise.Report`."""
    _reports.put((n_epochs, progress))


def run_jobs(
    jobs: Sequence[Callable[[Callable[..., None]], T]],
    n_epochs: int,
    n_workers: int,
    folder: Path | None = None,
) -> list[T]:
    """Run jobs in worker processes, with a progress bar over the epochs that they report.

    A lone worker is this process, for a new one would have to import everything again.

    Args:
        jobs: What to run, each called with a function that takes its reports.
        n_epochs: Of all jobs together.
        n_workers: How many processes run jobs.
        folder: Where the jobs keep their studies, if they do.

    Raises:
        SystemExit: Another run works in the folder.
    """
    with (
        alone_in(folder) if folder is not None else nullcontext(),
        tqdm(total=n_epochs, smoothing=0.05, bar_format=BAR) as bar,
    ):

        def show(n_trained: float, progress: str = "") -> None:
            bar.set_postfix_str(progress or bar.postfix or "", refresh=False)
            bar.update(n_trained)

        if n_workers == 1:
            return [job(show) for job in jobs]
        context = multiprocessing.get_context("spawn")
        reports: Queue[tuple[float, str]] = context.Queue()
        with ProcessPoolExecutor(n_workers, context, begin_worker, (reports,)) as pool:
            runs = [pool.submit(job, report) for job in jobs]
            while not all(run.done() for run in runs) or not reports.empty():
                with suppress(Empty):
                    show(*reports.get(timeout=0.2))
            return [run.result() for run in runs]


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep a second run out of a folder.

    A run that begins takes every running trial that it finds for one that was cut off, and fails
    it: two would fail each other's, or train in one study by turns. The lock ends with the process
    that holds it, killed even.

    Raises:
        SystemExit: Another run works there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout:
        raise SystemExit(
            f"error: Another run works in {folder}: wait for its end, or choose another folder."
        ) from None
    with held:
        yield


def begin_worker(reports: Queue[tuple[float, str]]) -> None:
    """Note where reports go, and end this worker when its driver is gone, killed even.

    It would go on training otherwise, in the way of whoever runs the same command again.
    """
    global _reports
    _reports = reports
    reports.cancel_join_thread()  # to end, never wait until the driver has read everything
    driver = multiprocessing.parent_process()
    assert driver is not None

    def watch() -> None:
        driver.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run(settings: Settings) -> None:
    """Run all seeds in worker processes, then print what evolved and how the arms did."""
    n_epochs = len(SINGLE_NETWORKS) * settings.n_epochs + settings.n_epochs_of_evolution
    n_epochs *= settings.n_seeds
    console = Console()
    minutes = seconds_of_an_epoch(settings) * n_epochs / settings.n_workers / 60
    console.print(
        f"On {settings.n_seeds} seeds: trains {len(SINGLE_NETWORKS)} networks with losses that "
        f"people use, and evolves one in a population of {settings.population_size} over "
        f"{settings.n_generations} generations. {n_epochs:,} epochs, in all about "
        f"{math.ceil(minutes)} min on {settings.n_workers} cores. Beside the bar stands the "
        "best accuracy so far on validation labels, of which "
        f"{settings.label_noise:.0%} are wrong."
    )
    jobs = [partial(run_seed, settings, seed) for seed in range(settings.n_seeds)]
    outcomes = run_jobs(jobs, n_epochs, settings.n_workers, settings.folder)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    console.print(table_of_losses(settings, seed=0))
    say = partial(console.print, soft_wrap=True)  # paths and commands are to be copied, whole
    say(f"Studies and checkpoints are in {settings.folder}; run again to go on.")
    say("Pictures of seed 0, for your browser:")
    for picture in draw_pictures(settings, seed=0):
        say(f"  {picture}")
    say("To look further:")
    bin_ = Path(sys.executable).parent
    say(f"  {bin_}/epbt lineage {settings.folder}/seed-0/study.log")
    if settings.logs_to_mlflow:
        say(f"  {bin_}/mlflow ui --backend-store-uri {settings.tracking_uri}")
    else:
        say(f"  {bin_}/epbt summary {settings.folder}/seed-0/study.log")
    console.print(table_of_accuracies(outcomes, settings))
    console.print(comparison(outcomes))


def seconds_of_an_epoch(settings: Settings) -> float:
    """Train two epochs as the run will; return how long the second one took."""
    torch.set_num_threads(1)  # as in the workers
    split = settings.make_split(0, settings.label_noise)
    network = settings.make_network()
    optimizer = make_optimizer(network, settings)
    loss_fn = TaylorGLOLoss(cross_entropy_like(10))
    for _ in range(2):
        start = time.perf_counter()
        train_epoch(network, optimizer, loss_fn, split.train, settings.batch_size)
        accuracy(network, split.validation)
    return time.perf_counter() - start


def draw_pictures(settings: Settings, seed: int) -> list[Path]:
    """Draw the study of a seed into the run's folder; return the files."""
    study, _ = open_study(settings, seed)
    files = []
    for name, plot in PICTURES.items():
        files.append(settings.folder / f"{name}.html")
        plot(study).write_html(files[-1], include_plotlyjs="directory")
    return files


def table_of_accuracies(outcomes: list[dict[str, Any]], settings: Settings) -> Table:
    table = Table(
        title=f"Accuracy on clean test data, {settings.label_noise:.0%} of the training and "
        f"validation labels wrong: mean ± standard deviation over {len(outcomes)} seeds, in %",
    )
    for heading in ("loss", "last epoch", "early-stopped", "epochs trained"):
        table.add_column(heading, justify="left" if heading == "loss" else "right")
    for name in (*SINGLE_NETWORKS, "EPBT"):
        columns = [summary(accuracies_of(outcomes, name, column)) for column in ("last", "early")]
        budget = settings.n_epochs_of_evolution if name == "EPBT" else settings.n_epochs
        table.add_row(name, *columns, f"{budget:,}")
    table.caption = (
        f"EPBT: the fittest of {settings.population_size} × {settings.n_generations} generations "
        f"of {epochs(settings.epochs_per_generation)}, chosen like early stopping on the noisy "
        f"validation labels; its own lineage trained for {epochs(settings.n_epochs)} at most. "
        "With EMA a moving average of the network's weights is measured."
    )
    return table


def comparison(outcomes: list[dict[str, Any]]) -> str:
    """Say how EPBT did beside the best of the others, where test data choose which that is."""
    others = [(name, column) for name in SINGLE_NETWORKS for column in ("early", "last")]
    best = max(others, key=lambda other: mean(accuracies_of(outcomes, *other)))
    pairs = zip(
        accuracies_of(outcomes, "EPBT", "early"), accuracies_of(outcomes, *best), strict=True
    )
    gains = [ours - theirs for ours, theirs in pairs]
    stopped = "early-stopped" if best[1] == "early" else "at its last epoch"
    return (
        f"EPBT's mean is {abs(mean(gains)):.1f} points {'above' if mean(gains) > 0 else 'below'} "
        f"the best of the others, {best[0]}, {stopped}. "
        f"Seed by seed: {', '.join(f'{gain:+.1f}' for gain in gains)}."
    )


def accuracies_of(outcomes: list[dict[str, Any]], name: str, column: str) -> list[float]:
    """Return an arm's test accuracy on each seed in %; none where it has no such column."""
    return [100 * outcome[name][column] for outcome in outcomes if column in outcome[name]]


def epochs(n: int) -> str:
    return "1 epoch" if n == 1 else f"{n:,} epochs"


def summary(values: list[float]) -> str:
    if len(values) < 2:
        return "".join(f"{value:.1f}" for value in values)
    return f"{mean(values):.1f} ± {stdev(values):.1f}"


def table_of_losses(settings: Settings, seed: int) -> Table:
    """Show the losses under which the fittest network of a seed was trained, in order."""
    study, _ = open_study(settings, seed)
    sampler = settings.sampler()
    table = Table(
        title=f"Losses along the fittest's lineage (seed {seed})", box=None, padding=(0, 1, 0, 0)
    )
    for heading in ("gens", "trial", "fit", *(f"θ{i}" for i in range(8))):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("p(true) 0→1", no_wrap=True)
    for params, steps in groupby(ancestry(study, sampler.fittest(study)), lambda step: step.params):
        *_, trial = trials = list(steps)  # an elite goes on with its loss
        loss_fn = TaylorGLOLoss.from_params(params)
        generations = sorted({sampler.generation_of(step.number) for step in (trials[0], trial)})
        theta = [f"{number:.1f}" for number in loss_fn.theta.tolist()]
        table.add_row(
            "–".join(map(str, generations)),
            str(trial.number),
            f"{trial.value:.3f}",
            *theta,
            sketch(loss_fn),
        )
    return table


def sketch(loss_fn: TaylorGLOLoss, width: int = 12) -> str:
    """Draw a loss over the true class's probability, in the two-class view of figure 5."""
    true_class = torch.linspace(0, 1, width)
    logits = torch.stack([true_class, 1 - true_class], dim=1).log()
    losses = torch.stack([loss_fn(sample, torch.tensor(0)) for sample in logits])
    heights = (losses - losses.min()) / (losses.max() - losses.min()).clamp_min(1e-9)
    return "".join("▁▂▃▄▅▆▇█"[int(height * 7.999)] for height in heights)
