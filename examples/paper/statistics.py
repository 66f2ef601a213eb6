"""Means, and paired tests with confidence intervals; all pairs share a seed, and so the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import Literal

from scipy import stats

from examples.paper import ExperimentError

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """Mean and standard deviation (NaN of a single value) of n values."""

    mean: float
    sd: float
    n: int

    @property
    def se(self) -> float:
        """Standard error of the mean."""
        return self.sd / sqrt(self.n)


def summarise(values: Sequence[float]) -> Summary:
    sd = stdev(values) if len(values) > 1 else float("nan")
    return Summary(fmean(values), sd, len(values))


@dataclass(frozen=True)
class Comparison:
    """Mean paired difference with its confidence interval and two-sided p.

    Attributes:
        difference: Ours minus theirs.
        low: Lower end of the interval.
        high: Upper end of the interval.
        p: Of Student's paired t-test.
        n: Pairs.
    """

    difference: float
    low: float
    high: float
    p: float
    n: int

    def __str__(self) -> str:
        return f"{self.difference:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"

    @property
    def verdict(self) -> Literal["wins", "ties", "loses"]:
        """A win or a loss only where the interval leaves out zero."""
        if self.low > 0:
            return "wins"
        return "loses" if self.high < 0 else "ties"


def compare(
    ours: Mapping[int, float], theirs: Mapping[int, float], what: str = "The two arms"
) -> Comparison:
    """Compare two arms over the seeds that both have.

    Args:
        ours: Accuracy by seed.
        theirs: Accuracy by seed.
        what: Names the arms in the error.

    Raises:
        ExperimentError: They share fewer than two seeds.
    """
    seeds = sorted(ours.keys() & theirs.keys())
    if len(seeds) < 2:
        raise ExperimentError(
            f"{what} share {len(seeds)} seed(s), but a paired test needs at least 2. Run more "
            "(`--seeds`), or move what is there away."
        )
    differences = summarise([ours[seed] - theirs[seed] for seed in seeds])
    if differences.sd <= 1e-12 * abs(differences.mean):  # alike but for rounding: no t, no doubt
        low = high = differences.mean
        p = 0.0 if differences.mean else 1.0
    else:
        test = stats.ttest_rel([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds])
        low, high = map(float, test.confidence_interval(CONFIDENCE))
        p = float(test.pvalue)
    return Comparison(differences.mean, low, high, p, n=len(seeds))
