"""A choice that took too long is made again: whom it fell on may have been collected."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import optuna
import pytest

from epbt_optuna import EPBTSampler
from epbt_optuna._internal.choosing import CHOOSING_SECONDS, choose_in_time
from tests.replay import lineage_of


def clock_of(*seconds: float) -> Callable[[], float]:
    """A clock that stands at each of these when it is read."""
    readings: Iterator[float] = iter(seconds)
    return lambda: next(readings)


@pytest.mark.parametrize(
    ("seconds", "n_choices"),
    [((0, 1), 1), ((5, 5 + CHOOSING_SECONDS / 2), 1), ((0, CHOOSING_SECONDS / 2 + 1, 10, 11), 2)],
)
def test_it_is_made_again_while_it_takes_more_than_half_of_what_a_collector_waits(
    seconds: tuple[float, ...], n_choices: int
) -> None:
    choices = iter(range(10))
    assert choose_in_time(lambda: next(choices), clock_of(*seconds)) == n_choices - 1


def test_a_sampler_that_slept_over_its_choice_chooses_from_who_is_alive_when_it_wakes_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    study = optuna.create_study(direction="maximize", sampler=EPBTSampler(2, n_elites=0, seed=0))
    straggler, other = study.ask(), study.ask()
    study.tell(other, 1.0)
    choices: list[object] = []

    def slowly_at_first(choose: Callable[[], object]) -> object:
        def choose_and_sleep() -> object:
            chosen = choose()
            if not choices:
                study.tell(straggler, 5.0)
            choices.append(chosen)
            return chosen

        seconds = (0.0, CHOOSING_SECONDS, CHOOSING_SECONDS, CHOOSING_SECONDS + 1)
        return choose_in_time(choose_and_sleep, clock_of(*seconds))

    monkeypatch.setattr("epbt_optuna.samplers.generation.choose_in_time", slowly_at_first)
    monkeypatch.setattr("epbt_optuna.operators.selection.TournamentSelection.__call__", fittest)
    child = study.ask()
    lineage = lineage_of(study.trials[child.number]) or {}
    assert len(choices) == 2
    assert lineage["parent"] == straggler.number
    assert "Choosing a parent took 3600 s" in caplog.text


def fittest(_: object, population: tuple[object, ...], rng: object) -> object:  # noqa: ARG001
    return population[0]
