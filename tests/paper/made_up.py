"""Results that nobody computed: accuracies by config, arm and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from examples.paper.outcome import Outcome, Point
from examples.paper.results import Result

Tests = Mapping[str, Sequence[float]]


def result_of(arm: str, seed: int, accuracy: float) -> Result:
    """Make a result whose test accuracy is so many per cent."""
    return Result(arm, seed, Outcome([Point(1, 0.5, accuracy / 100)], 1), {}, {})


def arms_of(tests: Tests) -> dict[str, list[Result]]:
    """Make results of arms, whose accuracies are those of seeds 0, 1, 2, …"""
    return {
        arm: [result_of(arm, seed, value) for seed, value in enumerate(values)]
        for arm, values in tests.items()
    }
