"""When workers only die: an error that says why, in place of a study of failed trials."""

from __future__ import annotations

from collections import Counter

from epbt_optuna.parallel.engines.protocol import EngineError
from epbt_optuna.parallel.worker import Outcome

__all__ = ["Deaths"]

_MOST = 10  # in a row, and three for each worker if that is more


class Deaths:
    """Counts the workers that ended before their trials had, until a trial ends by itself.

    By itself means COMPLETE, PRUNED, or FAILED by an exception or a value of its own.
    """

    def __init__(self) -> None:
        self._causes: list[str] = []

    def count(self, outcome: Outcome, n_workers: int) -> EngineError | None:
        """Count one trial more; return the error that a run of so many deaths is to end with."""
        if not outcome.left:
            self._causes.clear()
            return None
        self._causes.append(outcome.failure or "")
        if len(self._causes) < max(_MOST, 3 * n_workers):
            return None
        causes = ", ".join(f"{n} × {cause!r}" for cause, n in Counter(self._causes).most_common(3))
        return EngineError(
            f"{len(self._causes)} workers in a row ended before their trials had: {causes}. The "
            "standard error stream may say why. If it is for lack of memory, use fewer `workers`."
        )
