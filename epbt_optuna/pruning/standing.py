"""Where an individual stands in its generation, and what it can expect from there.

Two things are uncertain while a generation runs, what training still brings and how siblings that
have not come so far will do; both are averaged over, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Standing", "n_all_ahead"]

_MAX_GAINS = 32  # more would cost time and tell nothing

_Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Standing:
    """Where an individual stands after a report, in fitness: greater is fitter.

    Attributes:
        own: What it reported.
        siblings: What siblings had reported by then.
        n_unknown: Siblings that have not come so far.
        finals: The fitness of those who are not trained any more, elites above all.
        gains: What training from there to the end may bring.
    """

    own: float
    siblings: list[float]
    n_unknown: int
    finals: list[float]
    gains: list[float]

    @property
    def population_size(self) -> int:
        """How many there will be, the individual included."""
        return 1 + len(self.siblings) + self.n_unknown + len(self.finals)

    def expect(self, offspring: Sequence[float]) -> float:
        """Return how many offspring the individual can expect, itself counted where it survives.

        Args:
            offspring: How many each rank of the population can expect, the fittest first; as many
                as `population_size`.
        """
        gains = np.sort(self.gains)
        if len(gains) > _MAX_GAINS:
            gains = np.quantile(gains, np.linspace(0, 1, _MAX_GAINS))
        finals = np.sort(self.finals)
        n_finals_ahead = len(finals) - np.searchsorted(finals, self.own + gains, side="right")
        n_ranks = len(self.siblings) + self.n_unknown + 1
        left = np.asarray(offspring)[n_finals_ahead[:, None] + np.arange(n_ranks)]
        n_ahead = self._n_known_ahead(gains) @ n_all_ahead(len(self.siblings), self.n_unknown)
        return float((n_ahead * left).sum(axis=1).mean())

    def _n_known_ahead(self, gains: _Array) -> _Array:
        """Return, for each gain of its own, how probable each number of known siblings ahead is.

        Shape: (gains, siblings + 1). Given its own gain, siblings are independent.
        """
        probabilities = np.zeros((len(gains), len(self.siblings) + 1))
        probabilities[:, 0] = 1
        for sibling in self.siblings:
            # Equals count as less fit, and so do equal infinities: their NaN sorts last.
            n_behind = np.searchsorted(gains, (self.own - sibling) + gains, side="right")
            behind = (n_behind / len(gains))[:, None]
            ahead = 1 - behind
            probabilities[:, 1:] = probabilities[:, 1:] * behind + probabilities[:, :-1] * ahead
            probabilities[:, :1] *= behind
        return probabilities


def n_all_ahead(n_known: int, n_unknown: int) -> _Array:
    """Return how probable each number of siblings ahead is, given the number of known ones.

    Shape: (known + 1, known + unknown + 1).
    """
    n = n_known + n_unknown
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 2)))])
    known = np.arange(n_known + 1)[:, None]
    more = np.arange(n_unknown + 1)
    behind = n - known - more
    log_probabilities: _Array = (
        (log_factorial[known + more] - log_factorial[known] - log_factorial[more])
        + (log_factorial[behind] - log_factorial[n_known - known] - log_factorial[n_unknown - more])
        - (log_factorial[n + 1] - log_factorial[n_known + 1] - log_factorial[n_unknown])
    )
    probabilities = np.zeros((n_known + 1, n + 1))
    probabilities[known, known + more] = np.exp(log_probabilities)
    return probabilities
