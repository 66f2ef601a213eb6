"""What a sampler costs: ask, eight floats and tell in memory, beside Optuna's samplers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from random import Random

import optuna
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)
from tqdm import trange

from epbt_optuna import EPBTSampler, PBTSampler
from epbt_optuna.lineage import (
    ancestry,
    lineage_dataframe,
    lineage_graph,
    summarize_generations,
)
from tests.benchmarks.measure import figures, interleaved, seconds
from tests.benchmarks.table import Case, Table

N_TRIALS_OF_THE_PAPER = 520
TURN = 10


def ask_and_tell(study: optuna.Study) -> None:
    trial = study.ask()
    study.tell(trial, sum(trial.suggest_float(f"x{i}", -10.0, 10.0) for i in range(8)))


def bench_ask_and_tell(quick: bool) -> Table:
    """Time trials around certain numbers, the samplers taking turns of ten trials, in any order.

    The first trial of a turn finds the processor's caches full of what another sampler has read:
    10,000 trials, in TPE's case. A study that runs alone never has that, so the first is shown by
    itself, where there are most trials.

    TPE's model is the same whoever has asked the trials, and an ask of it takes long; so random
    trials lead up to those of it that are timed.
    """
    sizes, most = ((20, 40), 10) if quick else ((100, 1_000, 10_000), 100)
    samplers: dict[str, BaseSampler] = {
        "RandomSampler": RandomSampler(seed=0),
        "EPBTSampler": EPBTSampler(40, seed=0),
        "PBTSampler": PBTSampler(40, seed=0),
        "TPESampler": TPESampler(seed=0),
        "NSGAIISampler": NSGAIISampler(seed=0),
    }
    if find_spec("cmaes") is not None:
        samplers["CmaEsSampler"] = CmaEsSampler(seed=0)
    studies = {name: optuna.create_study(sampler=sampler) for name, sampler in samplers.items()}
    windows = {
        f"{size:,} trials": range(size - min(size // 2, most), size + min(size // 2, most))
        for size in sizes
    }
    longest = list(windows)[-1]
    behind_others = f"{longest}, right behind another sampler"
    times: dict[str, dict[str, list[float]]] = {
        case: {name: [] for name in samplers} for case in (*windows, behind_others)
    }
    order = Random(0)
    for begin in trange(0, windows[longest].stop, TURN, desc="ask + tell", leave=False):
        timed = [case for case, window in windows.items() if begin in window]
        for name in order.sample(list(studies), len(studies)):
            study = studies[name]
            slow = name == "TPESampler" and not timed
            study.sampler = samplers["RandomSampler" if slow else name]
            first, *others = [seconds(partial(ask_and_tell, study)) for _ in range(TURN)]
            for case in timed:
                times[case][name] += others
            if longest in timed:
                times[behind_others][name].append(first)
    return Table(
        "Ask, eight floats and tell, by trials in the study",
        tuple(Case(case, "ms", figures(own, 1e3)) for case, own in times.items()),
        over=dict.fromkeys(samplers, "RandomSampler"),
    )


def bench_lineage(quick: bool) -> Table:
    """Time reading the lineage of as many trials as the paper's run has."""
    n_trials = 40 if quick else N_TRIALS_OF_THE_PAPER
    study = optuna.create_study(direction="maximize", sampler=EPBTSampler(40, seed=0))
    for _ in range(n_trials):
        ask_and_tell(study)
    ways: dict[str, Callable[[optuna.Study], object]] = {
        "study.trials": optuna.Study.get_trials,
        "ancestry": ancestry,
        "summarize_generations": summarize_generations,
        "lineage_graph": lineage_graph,
        "lineage_dataframe": lineage_dataframe,
    }
    times = interleaved(
        {name: partial(way, study) for name, way in ways.items()}, 2 if quick else 50
    )
    return Table(
        "Reading the lineage of a study in memory",
        (Case(f"{n_trials} trials", "ms", figures(times, 1e3)),),
        over=dict.fromkeys(ways, "study.trials"),
    )


BENCHMARKS = {
    "ask-tell": bench_ask_and_tell,
    "lineage": bench_lineage,
}
