"""The toys of `examples.greed` are PBT-Zoo's, and the example finds how greedy populations are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from epbt_optuna.samplers import GenerationSampler
from examples import greed


def ignore(n_epochs: int, progress: str = "") -> None:
    """Report nothing."""


def naive(schedule: list[float], toy: str) -> float:
    """Say the toys again, step by step, as their authors do."""
    theta, history, rounds = 0.9, [], len(schedule)
    for h in schedule:
        history.append(h)
        off = sum(abs(h_i - (rounds - i) / rounds) for i, h_i in enumerate(history))
        penalty = 0.2 * off if toy == "deceptive" else 0.0
        for _ in range(20):
            theta += 0.001 * -2.0 * max(2 - history[-1] - penalty, 0) * theta
    return 1.2 - theta**2


@pytest.mark.parametrize("toy", greed.TOYS)
def test_a_schedule_is_worth_what_the_toys_authors_say(toy: str) -> None:
    rng = np.random.default_rng(0)
    for scale in (1.1, 0.5, 0.01):
        schedule = rng.uniform(0, scale, 50).tolist()
        assert greed.fitness(schedule, toy) == pytest.approx(naive(schedule, toy), rel=1e-12)


def test_the_known_optima_are_the_published_ones_and_no_other_schedule_is_better() -> None:
    plain, deceptive = (greed.known(toy, 50) for toy in greed.TOYS)
    assert plain == pytest.approx({"best": 1.1997, "constant": 1.1997, "greed": 1.1997}, abs=5e-5)
    expected = {"best": 1.1979, "constant": 1.0970, "greed": 0.8270}
    assert deceptive == pytest.approx(expected, abs=5e-5)
    rng = np.random.default_rng(1)
    line = 1 - np.arange(50) / 50
    for width in (0.001, 0.01, 0.1, 1.0):
        schedule = np.clip(line + rng.normal(0, width, 50), greed.LOW, greed.HIGH).tolist()
        assert greed.fitness(schedule, "deceptive") < deceptive["best"]


def test_every_population_trains_as_much() -> None:
    for name, (make_sampler, _) in greed.SETTINGS.items():
        sampler = make_sampler(seed=0)
        assert isinstance(sampler, GenerationSampler)
        assert sampler.n_trials(50) == pytest.approx(22 * 50, rel=0.02), name


def test_elites_that_train_and_mutate_gently_come_near_to_the_best_deceptive_schedule() -> None:
    assert greed.evolve("elites train, σ = 0.05, no resets", "deceptive", 50, 0, ignore) > 1.18


def test_the_example_prints_a_row_for_every_setting_and_draws_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "greed.png"
    greed.main(["--rounds", "2", "--seeds", "1", "--out", str(picture)])
    printed = capsys.readouterr().out
    assert all(name in printed for name in greed.SETTINGS)
    assert picture.read_bytes().startswith(b"\x89PNG")
