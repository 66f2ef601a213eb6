"""What `MLflowTracker` costs: the demo's run on digits, with it and without, side by side.

    python -m tests.benchmarks.tracking                     # 40 × 20 generations
    python -m tests.benchmarks.tracking --generations 5 --repeats 2

A machine that does other things too is not the same from one minute to the next, so the ways take
turns, each a whole run, and begin in another order every time.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import optuna
import torch
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from epbt_optuna import CheckpointStore, EPBTSampler
from epbt_optuna.journal import journal_storage
from epbt_optuna.tracking import MLflowTracker
from examples.digits import make_split
from examples.label_noise import Settings, mlp, objective
from tests.tracking.servers import MLflowServer, make_database

WITHOUT, SQLITE, SERVER = "without", "SQLite", "local server"


def settings_of(options: argparse.Namespace, folder: Path) -> Settings:
    """Return the demo's settings."""
    return Settings(
        make_split=make_split,
        make_network=partial(mlp, 64, 128, 64),
        folder=folder,
        learning_rate=0.1,
        batch_size=64,
        population_size=options.population,
        n_generations=options.generations,
        epochs_per_generation=options.epochs,
        label_noise=0.4,
        n_seeds=1,
        n_workers=1,
        tournament_size=4,
        only_trainable=False,
    )


def run(settings: Settings, tracker: MLflowTracker | None) -> tuple[float, float, float]:
    """Run one study; return its seconds, those of this process's CPU, and those of `close`."""
    split = settings.make_split(0, settings.label_noise)
    with tempfile.TemporaryDirectory(dir=settings.folder) as folder:
        checkpoints = CheckpointStore(Path(folder) / "checkpoints")
        study = optuna.create_study(
            study_name=Path(folder).name,
            direction="maximize",
            sampler=EPBTSampler(settings.population_size, seed=0),
            storage=journal_storage(f"{folder}/study.log"),
        )
        train = partial(objective, settings=settings, seed=0, split=split, checkpoints=checkpoints)
        start, cpu = perf_counter(), process_time()
        study.optimize(
            train,
            n_trials=settings.sampler.n_trials(settings.n_generations),
            callbacks=[checkpoints.collector(), *([] if tracker is None else [tracker])],
        )
        trained, cpu = perf_counter() - start, process_time() - cpu
        if tracker is not None:
            tracker.close()
        return trained, cpu, perf_counter() - start - trained


def measure(options: argparse.Namespace) -> dict[str, list[tuple[float, float, float]]]:
    """Run every way as often as asked, in turns."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = settings_of(options, folder)
        for name in ("sqlite", "server"):
            (folder / name).mkdir()
        make_database(folder / "sqlite" / "mlflow.db")
        shutil.copy(folder / "sqlite" / "mlflow.db", folder / "server")
        server = MLflowServer(folder / "server")
        stack.callback(server.stop)
        addresses = {
            WITHOUT: None,
            SQLITE: f"sqlite:///{folder}/sqlite/mlflow.db",
            SERVER: server.url,
        }
        ways = list(addresses)
        times: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
        for repeat in tqdm(range(options.repeats), leave=False):
            for way in ways[repeat % 3 :] + ways[: repeat % 3]:
                uri = addresses[way]
                if way == SERVER:  # beside the others it would only take their time
                    server.start()
                tracker = None if uri is None else MLflowTracker(uri, experiment="benchmark")
                times[way].append(run(settings, tracker))
                server.stop()
        return times


def table_of(
    times: dict[str, list[tuple[float, float, float]]], options: argparse.Namespace
) -> Table:
    """Show medians, and their ratios to the run without a tracker."""
    table = Table(
        title=f"{options.population} × {options.generations} generations on digits, a journal: "
        f"medians of {options.repeats} runs each, seconds (× without)"
    )
    for heading in ("MLflow", "run", "CPU of training", "close"):
        table.add_column(heading, justify="left" if heading == "MLflow" else "right")
    reference = [median(column) for column in zip(*times[WITHOUT], strict=True)]
    for way, rows in times.items():
        trained, cpu, closing = (median(column) for column in zip(*rows, strict=True))
        table.add_row(
            way,
            f"{trained:.1f} (×{trained / reference[0]:.3f})",
            f"{cpu:.1f} (×{cpu / reference[1]:.3f})",
            "" if way == WITHOUT else f"{closing:.1f}",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--population", type=int, default=40)
    parser.add_argument("--generations", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=1, help="in a generation")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    Console().print(table_of(measure(options), options))


if __name__ == "__main__":
    main()
