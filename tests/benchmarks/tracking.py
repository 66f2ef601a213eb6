"""What `MLflowTracker` costs: training beside it, memory, and `close` against MLflow's own client.

Training is as bad as it can be for a tracker on a thread: half of each trial of one second is
Python that holds the interpreter's lock, half is sleep. A machine that does other things too is not
the same from one minute to the next, so the ways take turns, and begin in another order every time.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time, sleep, thread_time

import optuna
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from tqdm import tqdm

from epbt_optuna import EPBTSampler
from epbt_optuna.journal import journal_storage
from epbt_optuna.tracking import MLflowTracker
from tests.benchmarks.measure import figures, seconds
from tests.benchmarks.table import Case, Figure, Table
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


class Stores:
    """A database and a server in a folder; the server runs only where it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
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

    def make_study(self, population: int = 6) -> optuna.Study:
        place = Path(tempfile.mkdtemp(dir=self.folder))
        return optuna.create_study(
            study_name=place.name,
            direction="maximize",
            sampler=EPBTSampler(population, seed=0),
            storage=journal_storage(place / "study.log"),
        )


@contextmanager
def open_stores() -> Iterator[Stores]:
    with tempfile.TemporaryDirectory() as folder:
        stores = Stores(Path(folder))
        try:
            yield stores
        finally:
            stores.server.stop()


def bench_training(quick: bool) -> Table:
    """Time trials of a second, the ways taking turns."""
    n_trials, n_repeats, share = (2, 1, 0.01) if quick else (20, 3, 0.5)
    rounds = int(calibrated() * share)
    walls: dict[str, list[float]] = {
        way: [] for way in (WITHOUT, SQLITE, *([] if quick else [SERVER]))
    }
    cpus: dict[str, list[float]] = {way: [] for way in walls}
    ways = list(walls)
    with open_stores() as stores:
        for repeat in tqdm(range(n_repeats), desc="tracking", leave=False):
            first = repeat % len(ways)
            for way in ways[first:] + ways[:first]:
                uri = stores.uri(way)
                tracker = None if uri is None else MLflowTracker(uri, pictures_every=0)
                study = stores.make_study()
                start, cpu = perf_counter(), process_time()
                study.optimize(
                    lambda trial: suggest(trial, rounds, share),
                    n_trials=n_trials,
                    callbacks=[] if tracker is None else [tracker],
                )
                walls[way].append((perf_counter() - start) / n_trials)
                cpus[way].append((process_time() - cpu) / n_trials)
                if tracker is not None:
                    tracker.close()
    return Table(
        f"{n_trials} trials of {2 * share:g} s, half of it with the interpreter's lock, and MLflow",
        (
            Case("a trial", "ms", figures(walls, 1e3)),
            Case("the training process's CPU for it", "ms", figures(cpus, 1e3)),
        ),
        over=dict.fromkeys(walls, WITHOUT),
    )


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


def bench_memory(quick: bool) -> Table:
    """Measure this process and those it starts, when a tenth is delivered and at the most."""
    n_trials, pause = (20, 0.1) if quick else (3_000, 5.0)
    tenths, mosts = {}, {}
    with open_stores() as stores:
        for way in (WITHOUT, SQLITE):
            uri = stores.uri(way)
            study = stores.make_study(population=40)
            sizes: list[float] = []
            is_over = threading.Event()

            def sample(sizes: list[float] = sizes, is_over: threading.Event = is_over) -> None:
                while not is_over.wait(0.2):
                    sizes.append(tree_mib())

            tracker = None if uri is None else MLflowTracker(uri, pictures_every=0)
            callbacks = [] if tracker is None else [tracker]
            study.optimize(suggest, n_trials=n_trials // 10, callbacks=callbacks)
            sleep(pause)  # so that it has begun to deliver
            sizes.append(tree_mib())
            tenths[way] = Figure.of([sizes[0]])
            thread = threading.Thread(target=sample)
            thread.start()
            study.optimize(suggest, n_trials=n_trials - n_trials // 10, callbacks=callbacks)
            if tracker is not None:
                tracker.close()
            is_over.set()
            thread.join()
            mosts[way] = Figure.of([max(sizes)])
    return Table(
        f"Memory in a run of {n_trials:,} trials",
        (Case("after a tenth of it", "MiB", tenths), Case("at the most", "MiB", mosts)),
        over=dict.fromkeys(tenths, WITHOUT),
    )


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


def bench_close(quick: bool) -> Table:
    """Time the delivery of trials that have all finished."""
    n_trials, n_repeats = (5, 1) if quick else (300, 3)
    cases = []
    with open_stores() as stores:
        for way in (SQLITE,) if quick else (SQLITE, SERVER):
            uri = stores.uri(way)
            assert uri is not None
            MlflowClient(uri).search_experiments()  # so that both find the store open
            times: dict[str, list[float]] = {"tracker": [], "plain client": []}
            for _ in range(n_repeats):
                study = stores.make_study(population=40)
                study.optimize(suggest, n_trials=n_trials)
                times["tracker"].append(seconds(partial(track, study, uri)))
                runs = runs_of(study, uri)
                assert len(runs) == n_trials
                times["plain client"].append(seconds(partial(deliver_plainly, study, uri, runs)))
            cases.append(Case(way, "s", figures(times)))
    return Table(
        f"{n_trials} trials that wait, delivered to MLflow without pictures",
        tuple(cases),
        over=dict.fromkeys(times, "plain client"),
    )


def track(study: optuna.Study, uri: str) -> None:
    tracker = MLflowTracker(uri, pictures_every=0)
    for trial in study.trials:
        tracker(study, trial)
    tracker.close()


def runs_of(study: optuna.Study, uri: str) -> list[tuple[dict[str, str], str]]:
    """Return tags and name of every trial's run."""
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(study.study_name)
    assert found is not None
    made = client.search_runs([found.experiment_id], "tags.`epbt.role` = 'trial'", 1, 50_000)
    return [(dict(run.data.tags), str(run.info.run_name)) for run in made]


BENCHMARKS = {
    "tracking": bench_training,
    "tracking-memory": bench_memory,
    "tracking-close": bench_close,
}
