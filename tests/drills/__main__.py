"""The drills at full length, with figures: `make drill`, or `python -m tests.drills kills`.

The short versions of all of them are tests, in `tests/integration`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import optuna
from rich.console import Console

from tests.drills import generations, kills, mixes, writers
from tests.drills.phases import PHASES
from tests.drills.processes import memory_folder
from tests.servers import grpc_proxy_server, postgres_server

N_KILLS = 100
N_PROCESSES, N_TRIALS = 16, 2000
N_GENERATIONS = 1000
N_MIXES, N_AT_A_TIME = 500, 3

console = Console()


@contextmanager
def database(kind: str, folder: str) -> Iterator[str]:
    """Lend a new storage of a kind, as `opened_study` takes it."""
    match kind:
        case "sqlite":
            yield f"sqlite:///{folder}/study.db"
        case "journal":
            yield f"journal:///{folder}/study.log"
        case "postgres":
            with postgres_server() as server:
                yield server.new_database()
        case _:
            with postgres_server() as server, grpc_proxy_server(server.new_database()) as proxy:
                yield proxy.url


def drill_kills() -> None:
    """Kill workers anywhere, a hundred times on each storage."""
    settings: tuple[tuple[str, dict[str, Any]], ...] = (
        ("sqlite", {}),
        ("sqlite", {"retry": True, "keep": "all"}),
        ("journal", {"retry": True}),
        ("postgres", {"retry": True}),
        ("postgres", {"retry": True, "n_workers": 3}),
    )
    for seed, (kind, options) in enumerate(settings):
        console.print(f"[bold]{N_KILLS} kills[/], {kind} {options}")
        with memory_folder() as folder, database(kind, folder) as url:
            drill = kills.Drill(url, folder, N_KILLS, seed=seed, trials_between=8)
            drill = replace(drill, **options)
            result = kills.run(drill)
            states = kills.check_survivors(drill, result)
        assert result.phases.keys() >= {*PHASES} - {"recover"}, f"a phase without: {result.phases}"
        killed_in = ", ".join(f"{phase} {result.phases[phase]}" for phase in PHASES)
        console.print(f"  killed in: {killed_in}")
        console.print(
            f"  {states['COMPLETE']} trials complete, {states['FAIL']} lost, all checks passed; "
            f"longest restart {result.longest_restart:.1f} s, in all {result.seconds:.0f} s"
        )


def drill_writers() -> None:
    """Let many processes write to one study."""
    for kind in ("postgres", "grpc"):
        console.print(f"[bold]{N_PROCESSES} processes, {N_TRIALS} trials[/], {kind}")
        with memory_folder() as folder, database(kind, folder) as url:
            drill = writers.Drill(url, N_PROCESSES, N_TRIALS // N_PROCESSES)
            result = writers.run(drill)
            writers.check_writing(drill, result)
        rate = N_TRIALS / result.seconds
        console.print(f"  {result.seconds:.0f} s, {rate:.0f} trials a second, all checks passed")


def drill_generations() -> None:
    """Run many generations with checkpoints."""
    for kind in ("journal", "sqlite"):
        console.print(f"[bold]{N_GENERATIONS} generations[/], {kind}")
        with memory_folder() as folder, database(kind, folder) as url:
            usages = generations.run(generations.Drill(url, f"{folder}/checkpoints", N_GENERATIONS))
        for usage in (usages[0], usages[-1]):
            console.print(
                f"  after {usage.trials} trials: {usage.descriptors} descriptors, "
                f"{usage.memory / 2**20:.1f} MiB resident, "
                f"{usage.files} checkpoints of {usage.folder / 2**20:.2f} MiB"
            )
        generations.check_flat(usages)


def drill_mixes() -> None:
    """Signal, pause and starve the workers of many runs, a few runs at a time."""

    def run_mix(seed: int) -> Counter[str]:
        with memory_folder() as folder:
            mix = mixes.Mix(folder, seed)
            mixes.run(mix)
            return mixes.check(mix)

    console.print(f"[bold]{N_MIXES} mixes of kill, SIGTERM, pause, forked children, full disk[/]")
    with ThreadPoolExecutor(N_AT_A_TIME) as pool:
        states = sum(pool.map(run_mix, range(N_MIXES)), Counter[str]())
    console.print(
        f"  0 runs hung, 0 of {states['COMPLETE']} completed trials lost, {states['FAIL']} failed"
    )


DRILLS: dict[str, Callable[[], None]] = {
    "kills": drill_kills,
    "mixes": drill_mixes,
    "writers": drill_writers,
    "generations": drill_generations,
}

if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for name in sys.argv[1:] or DRILLS:
        DRILLS[name]()
