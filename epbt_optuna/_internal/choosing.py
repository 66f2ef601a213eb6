"""How long a worker may take to choose a parent, for those who choose and for those who collect."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from epbt_optuna._internal.text import get_logger

__all__ = ["CHOOSING_SECONDS", "choose_in_time"]

_T = TypeVar("_T")
_logger = get_logger("epbt_optuna")

CHOOSING_SECONDS = 3600.0
"""A worker that has looked at a population records whom it chose before so much time is over."""


def choose_in_time(choose: Callable[[], _T], clock: Callable[[], float] = time.monotonic) -> _T:
    """Return what `choose` chose, if that is still to be recorded; else let it choose again.

    Between the look at a population and the record, the process may be stopped or its storage
    hang. A collector lets go what could be chosen at a look that is `CHOOSING_SECONDS` old, as the
    worker is most likely dead. Half of that is left for the record to be written.
    """
    while True:
        began = clock()
        chosen = choose()
        if (seconds := clock() - began) <= CHOOSING_SECONDS / 2:
            return chosen
        _logger.warning(
            "Choosing a parent took %.0f s: it is done again, as that one may have been collected.",
            seconds,
        )
