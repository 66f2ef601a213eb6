"""Whom the recommended settings are set beside, and by how much they are ahead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from examples.paper.arms import EMA, ROBUST, SLOW, TUNED, TUNED_ELR
from examples.paper.configs import CONFIGS
from examples.paper.plan import N_SEEDS, SEARCHED
from examples.paper.results import Result
from examples.paper.statistics import Comparison, compare

Arms: TypeAlias = Mapping[str, Sequence[Result]]
"""Results by arm, one a seed."""

ByConfig: TypeAlias = Mapping[str, Arms]

LETTER = "epbt-paper"

ROBUST_LOSSES = ("generalized-cross-entropy", *ROBUST, *EMA, *SLOW)
"""Losses for wrong labels, and every loss that is averaged over time or learns more slowly."""

ELR = tuple(name for name in ROBUST_LOSSES if name.startswith("early-learning"))
"""The only one of them that keeps anything of an image from one epoch to the next."""

RIVALS: dict[str, tuple[str, ...]] = {
    "EPBT, paper's letter": (LETTER,),
    "EPBT, tournaments of 4": ("epbt",),
    "selection alone": ("selection-alone",),
    "PBT": ("pbt-theta", "pbt-theta-uniform", "pbt-sgd"),
    "random search": ("random-search",),
    "TPE": ("tpe",),
    "tuned SCE, GCE": tuple(TUNED),
    "cross-entropy": ("cross-entropy",),
    "label smoothing": ("label-smoothing",),
    "GCE": ("generalized-cross-entropy",),
    "CE, GCE: EMA, slow": tuple(n for n in (*EMA, *SLOW) if n.startswith(("cross-", "general"))),
    "ELR": ELR,
    "tuned ELR": tuple(TUNED_ELR),
    "other robust losses": tuple(
        n for n in ROBUST_LOSSES if not n.startswith(("cross-", "general", "early-"))
    ),
}
"""By what tables and pictures call them. Of several, the one against which least is won stands for
all, by the test data: that favours the rival."""

NAMED = ("cross-entropy", "label-smoothing", *SEARCHED)
"""Those of which the recommended settings are to lose to none."""


def label(group: str) -> str:
    """Return what a group of rivals is called, with how many it is the best of."""
    n = len(RIVALS[group])
    return group if n == 1 else f"{group} ({n})"


def accuracies(results: Sequence[Result]) -> dict[int, float]:
    """Return the test accuracy by seed, in %."""
    return {result.seed: result.accuracy for result in results}


def against(arms: Arms, ours: str, other: str) -> Comparison | None:
    """Compare two arms of a config; None if they share fewer than two seeds."""
    return paired(*(accuracies(arms.get(name, ())) for name in (ours, other)))


def paired(ours: Mapping[int, float], other: Mapping[int, float]) -> Comparison | None:
    """Compare values by seed; None if they share fewer than two seeds."""
    return compare(ours, other) if len(ours.keys() & other.keys()) > 1 else None


class Strongest(NamedTuple):
    """The rival of several against which least is won."""

    arm: str
    comparison: Comparison
    n_run: int
    n_rivals: int

    @property
    def name(self) -> str:
        """Return its name, and of how many it is the strongest if some have not run."""
        of = f", of {self.n_run} that have run" if self.n_run < self.n_rivals else ""
        return f"`{self.arm}`{of}"


def strongest(arms: Arms, ours: str, others: Iterable[str]) -> Strongest | None:
    """Return the rival that does best beside an arm; None before one has been run."""
    rivals = [other for other in others if other != ours]
    found = {rival: c for rival in rivals if (c := against(arms, ours, rival))}
    if not found:
        return None
    arm = min(found, key=lambda rival: found[rival].difference)
    return Strongest(arm, found[arm], len(found), len(rivals))


def beside_recommended(configs: ByConfig, config: str, others: Iterable[str]) -> Strongest | None:
    """Return the strongest rival of the setting that is recommended for a config."""
    return strongest(configs.get(config, {}), CONFIGS[config].recommended, others)


def cell(comparison: Comparison | None) -> str:
    """Return a difference in points with its interval and, if they are few, the seeds."""
    if comparison is None:
        return "–"
    seeds = f", n = {comparison.n}" if comparison.n < N_SEEDS else ""
    return f"{comparison}{seeds}: {comparison.verdict}"
