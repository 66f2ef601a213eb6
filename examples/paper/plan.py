"""What the report is to rest on: which arms on which configs, and how many seeds of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from examples.paper.arms import (
    EMA,
    EVOLVED_ELR,
    GROUPS,
    MEANS,
    RECOMMENDED,
    REPLAYED,
    ROBUST,
    SLOW,
    SWEEPS_CLEAN,
    SWEEPS_NOISY,
    TUNED,
    TUNED_ELR,
)
from examples.paper.configs import CONFIGS
from examples.paper.results import Result

SIX = (
    "digits-clean", "digits-noisy", "fashion-5000",
    "fashion-5000-noisy", "fashion-clean", "fashion-noisy",
)  # fmt: skip
"""The configs of the paper's two questions, clean labels and wrong ones, on three sizes of data."""

NOISES = {
    "symmetric, 40 %": ("digits-noisy", "fashion-5000-noisy", "fashion-noisy"),
    "pair-flip, 20 %": ("digits-pair-flip-20", "fashion-5000-pair-flip-20"),
    "instance-dependent, 30 %": ("digits-instance", "fashion-5000-instance"),
}
"""Configs by how their labels came to be wrong."""

SWEPT = ("digits-clean", "digits-noisy", "fashion-5000-noisy")

N_SEEDS, N_SEEDS_OF_SWEEPS = 10, 5

PLAIN = ("cross-entropy", "label-smoothing", "generalized-cross-entropy")
SEARCHED = (
    "pbt-theta", "pbt-theta-uniform", "pbt-sgd", "random-search", "tpe", "selection-alone",
)  # fmt: skip
OURS = ("epbt", "epbt-paper")


def planned(config: str) -> dict[str, int]:
    """Return how many seeds of which arm a config is to have; more of them do no harm."""
    if config not in {*SIX, *(name for kind in NOISES.values() for name in kind)}:
        return {}
    names = [CONFIGS[config].recommended, *OURS, *PLAIN, *SEARCHED, *ROBUST, *EMA, *SLOW]
    if noisy := CONFIGS[config].noise_rate:
        names += [*TUNED, *TUNED_ELR, *EVOLVED_ELR]
    if config in SIX:
        names += [*RECOMMENDED, *MEANS, "cross-entropy-all-data", *REPLAYED]
    seeds = dict.fromkeys(names, N_SEEDS)
    if config in SWEPT:
        seeds |= dict.fromkeys(SWEEPS_NOISY if noisy else SWEEPS_CLEAN, N_SEEDS_OF_SWEEPS)
    return seeds


def missing(configs: Mapping[str, Mapping[str, Sequence[Result]]]) -> str:
    """Name what was planned and is not there, config by config; an empty text if nothing is."""
    lines = []
    for config in CONFIGS:
        arms, seeds = configs.get(config, {}), planned(config)
        short = {name: len(arms.get(name, ())) for name in seeds}
        by_count: dict[str, list[str]] = {}
        for name, wanted in seeds.items():
            if short[name] < wanted:
                by_count.setdefault(f"{short[name]} of {wanted} seeds", []).append(name)
        said = [f"{count}: {named(names, seeds)}" for count, names in sorted(by_count.items())]
        if said:
            lines.append(f"- `{config}`: {'; '.join(said)}.")
    return "\n".join(lines)


def named(names: Iterable[str], of: Iterable[str]) -> str:
    """List arms; a group, all of whose planned arms are among them, by its own name."""
    left, planned_ones, said = set(names), set(of), []
    for group, arms in GROUPS.items():
        wanted = arms.keys() & planned_ones
        if len(wanted) > 1 and wanted <= left:
            said.append(f"`{group}` ({len(wanted)} arms)")
            left -= wanted
    return ", ".join([*said, *(f"`{name}`" for name in of if name in left)])
