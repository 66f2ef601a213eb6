"""`make bench`: what the library costs, each figure beside its yardstick in the same run.

Medians, since machines are noisy. Nothing here passes or fails.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import optuna
import torch
from optuna.samplers import BaseSampler, RandomSampler
from rich.console import Console
from rich.table import Table
from torch import Tensor
from tqdm import trange

from epbt_optuna import CheckpointStore, EPBTSampler, PBTSampler, taylor_glo_loss
from epbt_optuna.lineage import (
    ancestry,
    lineage_dataframe,
    lineage_graph,
    summarize_generations,
)

WINDOWS = (1_000, 10_000, 20_000)
HALF_WIDTH = 500


def seconds(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


def ask_and_tell(study: optuna.Study) -> None:
    trial = study.ask()
    study.tell(trial, sum(trial.suggest_float(f"x{i}", -10.0, 10.0) for i in range(8)))


def bench_ask_and_tell() -> Table:
    """Time trials of eight floats in memory, the samplers taking turns trial by trial."""
    samplers: dict[str, BaseSampler] = {
        "RandomSampler": RandomSampler(seed=0),
        "EPBTSampler(40)": EPBTSampler(40, seed=0),
        "PBTSampler(40)": PBTSampler(40, seed=0),
    }
    studies = {name: optuna.create_study(sampler=sampler) for name, sampler in samplers.items()}
    times: dict[str, list[float]] = {name: [] for name in studies}
    for _ in trange(WINDOWS[-1] + HALF_WIDTH, desc="ask + tell", leave=False):
        for name, study in studies.items():
            times[name].append(seconds(lambda study=study: ask_and_tell(study)))  # type: ignore[misc]

    def at(name: str, window: int) -> float:
        return median(times[name][window - HALF_WIDTH : window + HALF_WIDTH])

    table = Table(
        title="ask + 8 floats + tell in memory, median ms (× RandomSampler's) around trial"
    )
    for heading in ("sampler", *(f"{window:,}" for window in WINDOWS)):
        table.add_column(heading, justify="right")
    for name in studies:
        cells = [
            f"{1e3 * at(name, window):.3f} (×{at(name, window) / at('RandomSampler', window):.2f})"
            for window in WINDOWS
        ]
        table.add_row(name, *cells)
    return table


def plain_taylor_glo(logits: Tensor, labels: Tensor, theta: Tensor) -> Tensor:
    """Compute equation (1) by autograd alone."""
    y = logits.softmax(1)
    x = torch.zeros_like(y).scatter(1, labels[:, None], 1.0)
    t0, t1, t2, t3, t4, t5, t6, t7 = theta
    u, w = y - t1, x - t0
    bracket = (
        t2 * u + t3 * u**2 / 2 + t4 * u**3 / 6 + t5 * w * u + t6 * w * u**2 / 2 + t7 * w**2 * u / 2
    )
    loss: Tensor = -bracket.mean()
    return loss


def bench_taylor_glo() -> Table:
    """Time forward and backward of the loss, the ways taking turns."""
    table = Table(title="TaylorGLO forward + backward on the CPU, median µs (× cross-entropy's)")
    for heading in ("samples × classes", "cross-entropy", "closed form", "plain autograd"):
        table.add_column(heading, justify="right")
    theta = torch.empty(8).uniform_(-10, 10)
    for n_samples, n_classes in ((128, 10), (128, 1000)):
        logits = torch.randn(n_samples, n_classes, requires_grad=True)
        labels = torch.randint(n_classes, (n_samples,))
        ways: tuple[Callable[[], Tensor], ...] = (
            lambda: torch.nn.functional.cross_entropy(logits, labels),  # noqa: B023, called here
            lambda: taylor_glo_loss(logits, labels, theta),  # noqa: B023
            lambda: plain_taylor_glo(logits, labels, theta),  # noqa: B023
        )
        times: list[list[float]] = [[] for _ in ways]
        for _ in range(2_000):
            for way, own in zip(ways, times, strict=True):
                own.append(seconds(lambda way=way: way().backward()))  # type: ignore[misc]
        reference = median(times[0])
        cells = [f"{1e6 * median(own):.0f} (×{median(own) / reference:.2f})" for own in times]
        table.add_row(f"{n_samples} × {n_classes}", *cells)
    return table


def bench_checkpoints() -> Table:
    """Time saving and inheriting 470,000 float32, against torch's own save and load."""
    state = {"weights": torch.randn(470_000)}
    study = optuna.create_study(sampler=EPBTSampler(2, n_elites=0, seed=0))
    times: dict[str, list[float]] = {"save": [], "inherit": [], "torch.save": [], "torch.load": []}
    with tempfile.TemporaryDirectory() as folder:
        checkpoints, plain = CheckpointStore(Path(folder)), Path(folder) / "plain.pt"
        for _ in range(200):
            trial = study.ask()
            times["inherit"].append(seconds(lambda: checkpoints.inherit(trial)))  # noqa: B023
            times["save"].append(seconds(lambda: checkpoints.save(trial, state)))  # noqa: B023
            times["torch.save"].append(seconds(lambda: torch.save(state, plain)))
            times["torch.load"].append(seconds(lambda: torch.load(plain, weights_only=True)))
            study.tell(trial, 0.0)
    table = Table(title="A checkpoint of 1.9 MB in a local folder, median ms")
    for name in times:
        table.add_column(name, justify="right")
    table.add_row(*(f"{1e3 * median(own[10:]):.2f}" for own in times.values()))
    return table


def bench_lineage() -> Table:
    """Time reading the lineage of the paper's 520 trials, beside a copy of the trials."""
    study = optuna.create_study(direction="maximize", sampler=EPBTSampler(40, seed=0))
    for _ in range(520):
        ask_and_tell(study)
    ways: dict[str, Callable[[optuna.Study], object]] = {
        "study.trials": optuna.Study.get_trials,
        "ancestry": ancestry,
        "summarize_generations": summarize_generations,
        "lineage_graph": lineage_graph,
        "lineage_dataframe": lineage_dataframe,
    }
    table = Table(title="Reading 520 trials in memory, median ms")
    for name in ways:
        table.add_column(name, justify="right")
    table.add_row(
        *(
            f"{1e3 * median(seconds(lambda way=way: way(study)) for _ in range(20)):.1f}"  # type: ignore[misc]
            for way in ways.values()
        )
    )
    return table


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    console = Console()
    for bench in (bench_ask_and_tell, bench_taylor_glo, bench_checkpoints, bench_lineage):
        console.print(bench())


if __name__ == "__main__":
    main()
