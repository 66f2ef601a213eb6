"""What `MLflowTracker` costs: training beside it, memory, and `close` against MLflow's own client.

    python -m tests.benchmarks.tracking                         # all three
    python -m tests.benchmarks.tracking close --trials 100 --repeats 1

Training is as bad as it can be for a tracker on a thread: half of each trial of one second is
Python that holds the interpreter's lock, half is sleep. A machine that does other things too is not
the same from one minute to the next, so the ways take turns, and begin in another order every time.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter, process_time, sleep, thread_time

import optuna
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from epbt_optuna import EPBTSampler
from epbt_optuna.journal import journal_storage
from epbt_optuna.tracking import MLflowTracker
from tests.tracking.servers import MLflowServer, make_database

WITHOUT, SQLITE, SERVER = "without", "SQLite", "local server"
N_PARTS = 5


def spin(n: int) -> int:
    """Hold the lock."""
    total = 0
    for i in range(n):
        total += i * i
    return total


def calibrated() -> int:
    """Return for how many rounds `spin` needs a second of a core of its own."""
    times = []
    for _ in range(7):
        start = thread_time()
        spin(1_000_000)
        times.append(thread_time() - start)
    return int(1_000_000 / median(times))


def suggest(trial: optuna.Trial, rounds: int = 0, pause: float = 0.0) -> float:
    """Train for `N_PARTS` epochs, each a piece of Python and a piece of sleep."""
    x = trial.suggest_float("x", 0, 1)
    trial.suggest_float("lr", 1e-4, 1, log=True)
    trial.suggest_categorical("activation", ["relu", "tanh"])
    for epoch in range(N_PARTS):
        spin(rounds // N_PARTS)
        sleep(pause / N_PARTS)
        trial.report(x * epoch, epoch)
    return x


def make_study(folder: Path, population: int = 6) -> optuna.Study:
    place = Path(tempfile.mkdtemp(dir=folder))
    return optuna.create_study(
        study_name=place.name,
        direction="maximize",
        sampler=EPBTSampler(population, seed=0),
        storage=journal_storage(place / "study.log"),
    )


class Stores:
    """A database and a server in a folder; the server runs only where it is asked for."""

    def __init__(self, folder: Path) -> None:
        for name in ("sqlite", "server"):
            (folder / name).mkdir()
        make_database(folder / "sqlite" / "mlflow.db")
        shutil.copy(folder / "sqlite" / "mlflow.db", folder / "server")
        self.server = MLflowServer(folder / "server")
        self._uris = {
            WITHOUT: None,
            SQLITE: f"sqlite:///{folder}/sqlite/mlflow.db",
            SERVER: self.server.url,
        }

    def uri(self, way: str) -> str | None:
        self.server.stop()
        if way == SERVER:  # beside the others it would only take their time
            self.server.start()
        return self._uris[way]


def bench_training(stores: Stores, folder: Path, options: argparse.Namespace) -> Table:
    """Time trials of a second."""
    rounds = calibrated() // 2
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in (WITHOUT, SQLITE, SERVER)}
    ways = list(times)
    for repeat in tqdm(range(options.repeats), desc="training", leave=False):
        for way in ways[repeat % 3 :] + ways[: repeat % 3]:
            uri = stores.uri(way)
            tracker = None if uri is None else MLflowTracker(uri, pictures_every=0)
            study = make_study(folder)
            start, cpu = perf_counter(), process_time()
            study.optimize(
                lambda trial: suggest(trial, rounds, 0.5),
                n_trials=options.seconds,
                callbacks=[] if tracker is None else [tracker],
            )
            times[way].append((perf_counter() - start, process_time() - cpu))
            if tracker is not None:
                tracker.close()
    table = Table(
        title=f"A trial of 1 s, half of it with the lock, of {options.seconds}: medians of "
        f"{options.repeats} runs, ms"
    )
    for heading in ("MLflow", "trial", "CPU of the training process"):
        table.add_column(heading, justify="left" if heading == "MLflow" else "right")
    reference = [median(column) for column in zip(*times[WITHOUT], strict=True)]
    for way, rows in times.items():
        wall, cpu = (median(column) for column in zip(*rows, strict=True))
        each = 1000 / options.seconds
        table.add_row(
            way,
            f"{each * wall:.0f} (×{wall / reference[0]:.3f})",
            f"{each * cpu:.0f} (+{each * (cpu - reference[1]):.0f})",
        )
    return table


def tree_mib(process: int | str = "self") -> float:
    """Return the memory of a process and of those that it started."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
        children = [
            child
            for task in Path(f"/proc/{process}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:  # it has just ended
        return 0.0
    own = next((line.split()[1] for line in status.split("\n") if line.startswith("VmRSS")), "0")
    return int(own) / 1024 + sum(tree_mib(child) for child in children)


def bench_memory(stores: Stores, folder: Path, options: argparse.Namespace) -> Table:
    """Measure this process and those it starts, when a tenth is delivered and at the most."""
    table = Table(title=f"Memory, MiB, {options.trials_of_memory} trials")
    for heading in ("MLflow", "after a tenth", "at the most"):
        table.add_column(heading, justify="left" if heading == "MLflow" else "right")
    n_trials = options.trials_of_memory
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for way in (WITHOUT, SQLITE):
        uri = stores.uri(way)
        study = make_study(folder, population=40)
        sizes: list[float] = []
        is_over = threading.Event()

        def sample(sizes: list[float] = sizes, is_over: threading.Event = is_over) -> None:
            while not is_over.wait(0.2):
                sizes.append(tree_mib())

        tracker = None if uri is None else MLflowTracker(uri, pictures_every=0)
        callbacks = [] if tracker is None else [tracker]
        study.optimize(suggest, n_trials=n_trials // 10, callbacks=callbacks)
        sleep(5)  # so that it has begun to deliver
        tenth = tree_mib()
        thread = threading.Thread(target=sample)
        thread.start()
        study.optimize(suggest, n_trials=n_trials - n_trials // 10, callbacks=callbacks)
        if tracker is not None:
            tracker.close()
        is_over.set()
        thread.join()
        table.add_row(way, f"{tenth:.0f}", f"{max(sizes):.0f}")
    return table


def deliver_plainly(study: optuna.Study, uri: str, runs: list[tuple[dict[str, str], str]]) -> None:
    """Make the runs that a tracker has made, by the client alone."""
    client = MlflowClient(uri)
    experiment = client.create_experiment(f"{study.study_name} plain")
    parent = client.create_run(experiment, run_name=study.study_name).info.run_id
    for tags, name in runs:
        trial = study.trials[int(tags["epbt.trial"])]
        run = client.create_run(
            experiment, start_time=0, tags={**tags, "mlflow.parentRunId": parent}, run_name=name
        )
        steps = trial.intermediate_values.items()
        metrics = [Metric("intermediate_value", value, 0, step) for step, value in steps]
        metrics.append(Metric("fitness", trial.values[0], 0, N_PARTS))
        params = [Param(name, str(value)) for name, value in trial.params.items()]
        client.log_batch(run.info.run_id, metrics, params, synchronous=True)
        client.set_terminated(run.info.run_id, "FINISHED", 1)
    client.set_terminated(parent)


def bench_close(stores: Stores, folder: Path, options: argparse.Namespace) -> Table:
    """Time the delivery of trials that have all finished."""
    table = Table(
        title=f"Delivery of {options.trials} trials that wait, without pictures: medians of "
        f"{options.repeats} runs, s"
    )
    for heading in ("MLflow", "tracker", "plain client", "ratio"):
        table.add_column(heading, justify="left" if heading == "MLflow" else "right")
    for way in (SQLITE, SERVER):
        uri = stores.uri(way)
        assert uri is not None
        MlflowClient(uri).search_experiments()  # so that both find the store open
        times: list[tuple[float, float]] = []
        for _ in range(options.repeats):
            study = make_study(folder, population=40)
            study.optimize(suggest, n_trials=options.trials)
            tracker = MLflowTracker(uri, pictures_every=0)

            def track(study: optuna.Study = study, tracker: MLflowTracker = tracker) -> None:
                for trial in study.trials:
                    tracker(study, trial)
                tracker.close()

            tracked = seconds(track)
            client = MlflowClient(uri)
            found = client.get_experiment_by_name(study.study_name)
            assert found is not None
            made = client.search_runs([found.experiment_id], "tags.`epbt.role` = 'trial'", 1, 50000)
            assert len(made) == options.trials
            runs = [(dict(run.data.tags), str(run.info.run_name)) for run in made]
            plain = seconds(lambda: deliver_plainly(study, uri, runs))  # noqa: B023, called here
            times.append((tracked, plain))
        tracked, plain = (median(column) for column in zip(*times, strict=True))
        ratio = median(one / other for one, other in times)
        table.add_row(way, f"{tracked:.1f}", f"{plain:.1f}", f"{ratio:.2f}")
    return table


def seconds(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


def main() -> None:
    benches = {"training": bench_training, "memory": bench_memory, "close": bench_close}
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("which", nargs="*", choices=[[], *benches], default=[])
    parser.add_argument("--seconds", type=int, default=30, help="trials of one second")
    parser.add_argument("--trials", type=int, default=300, help="that wait for `close`")
    parser.add_argument("--trials-of-memory", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stores = Stores(folder)
        stack.callback(stores.server.stop)
        for name in options.which or benches:
            Console().print(benches[name](stores, folder, options))


if __name__ == "__main__":
    main()
