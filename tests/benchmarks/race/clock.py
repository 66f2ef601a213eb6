"""The clock of a job: it sees every evaluation, and says when the accuracy was reached."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field


@dataclass
class Clock:
    """Follows the network that has the best validation accuracy so far, the latest of equals.

    Attributes:
        accuracy: The test accuracy to reach.
        max_epochs: When to give up, in epochs of all networks together.
        epochs: Trained so far, by all networks together.
        seconds: Until the accuracy was reached; infinite before.
        curve: Seconds, epochs, validation and test accuracy of each network that became the best.
    """

    accuracy: float
    max_epochs: int
    epochs: float = 0
    seconds: float = math.inf
    curve: list[tuple[float, float, float, float]] = field(default_factory=list)
    _start: float = 0.0

    def start(self) -> None:
        """Begin to count seconds."""
        self._start = time.perf_counter()

    def see(self, validation: float, test: float, n_epochs: float) -> None:
        """Take note of an evaluation, after so many more epochs; none counts after the end."""
        if self.is_over:
            return
        self.epochs += n_epochs
        if self.curve and validation < self.curve[-1][2]:
            return
        now = time.perf_counter() - self._start
        self.curve.append((now, self.epochs, validation, test))
        if test >= self.accuracy:
            self.seconds = now

    @property
    def is_over(self) -> bool:
        """Whether the accuracy was reached or the epochs are spent."""
        return self.seconds < math.inf or self.epochs >= self.max_epochs
