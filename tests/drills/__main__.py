"""The drills at full length, with figures: `make drill`, or `python -m tests.drills kills`.

The short versions of all of them are tests, in `tests/integration`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import optuna
from rich.console import Console

from tests.drills import generations, kills, writers
from tests.drills.phases import PHASES
from tests.drills.processes import memory_folder
from tests.servers import grpc_proxy_server, postgres_server

N_KILLS = 100
N_PROCESSES, N_TRIALS = 16, 2000
N_GENERATIONS = 1000

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


DRILLS: dict[str, Callable[[], None]] = {
    "kills": drill_kills,
    "writers": drill_writers,
    "generations": drill_generations,
}

if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for name in sys.argv[1:] or DRILLS:
        DRILLS[name]()
