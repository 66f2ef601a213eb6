"""What every arm leaves: how accurate which network was when, and what it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Point(NamedTuple):
    """The arm's network after so many epochs: EPBT's is the fittest of the population.

    Attributes:
        epoch: Epochs by the clock of the config.
        validation: Accuracy on what the arm chooses on; None if it keeps nothing back.
        test: Accuracy on clean test images, which no arm chooses on.
    """

    epoch: float
    validation: float | None
    test: float


@dataclass(frozen=True)
class Outcome:
    """What an arm came to on one seed.

    Attributes:
        curve: Its network over the epochs.
        epochs_trained: By all its networks together.
        losses_explored: Different losses that a network was trained with.
        ancestry: Under which hyperparameters the chosen network was trained, the founder first.
    """

    curve: Sequence[Point]
    epochs_trained: int
    losses_explored: int = 1
    ancestry: Sequence[dict[str, Any]] = field(default_factory=tuple)

    @property
    def selected(self) -> Point:
        """Where the arm would have stopped: see `select`."""
        return select(self.curve)


def select(curve: Sequence[Point]) -> Point:
    """Return the point with the best validation accuracy, the latest of equals.

    That is early stopping. An arm that kept nothing back takes what it has at the end.
    """
    if any(point.validation is None for point in curve):
        return curve[-1]
    return max(curve, key=lambda point: (point.validation, point.epoch))
