"""How each generation did."""

from __future__ import annotations

import math
from collections import Counter
from statistics import mean, median, pstdev

import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from epbt_optuna import EPBTSampler, PBTSampler
from epbt_optuna.lineage import summarize_generations
from tests.constraints import set_constraint
from tests.lineage.studies import Direction, evolve, only_failed


def add(
    study: optuna.Study, value: float, space: dict[str, tuple[BaseDistribution, object]]
) -> None:
    study.add_trial(
        optuna.create_trial(
            value=value,
            params={name: param for name, (_, param) in space.items()},
            distributions={name: distribution for name, (distribution, _) in space.items()},
        )
    )


def of_two(
    one: object, other: object, distribution: BaseDistribution, values: tuple[float, float] = (1, 2)
) -> optuna.Study:
    """A study of one generation, with two individuals that differ in one variable."""
    study = optuna.create_study(sampler=EPBTSampler(3, seed=0))
    for param, value in zip((one, other), values, strict=True):
        add(study, value, {"x": (distribution, param)})
    study.ask()  # records the generations
    return study


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("sampler", [EPBTSampler(8, seed=0), PBTSampler(6, seed=0)])
def test_a_generation_is_summed_up_over_its_trials_and_its_population(
    sampler: EPBTSampler | PBTSampler, direction: Direction
) -> None:
    study = evolve(sampler, direction=direction)
    summaries = summarize_generations(study)
    assert len(summaries) == sampler.generation_of(59) + 1
    better, worse = (max, min) if direction == "maximize" else (min, max)
    for generation, summary in enumerate(summaries):
        population = sampler.get_population(study, generation)
        values = [trial.values[0] for trial in population]
        assert summary.generation == generation
        assert summary.best == better(values)
        assert summary.worst == worse(values)
        assert summary.mean == pytest.approx(mean(values))
        assert summary.median == pytest.approx(median(values))
        assert summary.best_trial == population[0].number
        numbers = sampler.trial_numbers(generation)
        trials = study.trials[numbers.start : numbers.stop]
        states = Counter(trial.state.name for trial in trials)
        assert summary.n_complete == states["COMPLETE"]
        assert summary.n_pruned == states["PRUNED"]
        assert summary.n_failed == states["FAIL"]
        assert summary.n_unfinished == 0
        assert summary.n_reports == sum(1 + trial.number % 3 for trial in trials)
    assert sum(summary.n_pruned for summary in summaries) > 0
    assert sum(summary.n_failed for summary in summaries) > 0


def test_where_nobody_is_alive_nothing_is_known() -> None:
    for summary in summarize_generations(only_failed()):
        known = (summary.best, summary.mean, summary.median, summary.worst, summary.diversity)
        assert all(math.isnan(number) for number in known)
        assert summary.best_trial is None
        assert summary.n_reports == 0
    assert [s.n_failed for s in summarize_generations(only_failed())] == [4, 1]


def test_a_generation_that_failed_as_a_whole_has_the_elites_of_the_last_one() -> None:
    study = evolve(EPBTSampler(4, seed=0), n_trials=4)
    for _ in range(2):
        study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    first, second = summarize_generations(study)
    assert second.best == first.best
    assert second.n_complete == 0
    assert second.n_failed == 2


def test_trials_that_run_or_wait_are_unfinished() -> None:
    study = evolve(n_trials=8)
    study.ask()
    study.enqueue_trial({})
    assert summarize_generations(study)[1].n_unfinished == 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1.0, math.inf), (1.0, math.inf, math.inf, math.inf)),
        ((-math.inf, 1.0), (-math.inf, -math.inf, -math.inf, 1.0)),
        ((-math.inf, math.inf), (-math.inf, math.nan, math.nan, math.inf)),
        ((1e308, 1e308), (1e308, math.inf, math.inf, 1e308)),
    ],
)
def test_infinite_values_are_counted_without_a_warning(
    values: tuple[float, float], expected: tuple[float, ...]
) -> None:
    study = of_two(0.5, 0.5, FloatDistribution(0, 1), values)  # minimised
    summary = summarize_generations(study)[0]
    got = (summary.best, summary.mean, summary.median, summary.worst)
    assert got == pytest.approx(expected, nan_ok=True)


def test_of_equally_fit_individuals_the_first_is_the_best_as_for_optuna() -> None:
    study = of_two(0.2, 0.8, FloatDistribution(0, 1), (1, 1))
    assert summarize_generations(study)[0].best_trial == study.best_trial.number == 0


def test_with_constraints_the_best_is_feasible() -> None:
    study = optuna.create_study(direction="maximize", sampler=EPBTSampler(3, seed=0))
    for value, violation in ((9.0, 1.0), (1.0, 0.0)):
        trial = study.ask()
        set_constraint(trial, "memory", violation)
        study.tell(trial, value)
    summary = summarize_generations(study)[0]
    assert (summary.best, summary.worst, summary.best_trial) == (1.0, 9.0, 1)


@pytest.mark.parametrize(
    ("one", "other", "distribution", "diversity"),
    [
        (0.0, 10.0, FloatDistribution(0, 10), 0.5),
        (2.5, 7.5, FloatDistribution(0, 10), 0.25),
        (4.0, 4.0, FloatDistribution(0, 10), 0.0),
        (1e-4, 1.0, FloatDistribution(1e-4, 1, log=True), 0.5),
        (1e-2, 1.0, FloatDistribution(1e-4, 1, log=True), 0.25),
        (1, 9, IntDistribution(1, 9), 0.5),
        (1, 10, IntDistribution(1, 100, log=True), 0.25),
        (3, 3, IntDistribution(3, 3), 0.0),
        ("a", "b", CategoricalDistribution(["a", "b", "c"]), 0.5),
        ("a", "a", CategoricalDistribution(["a", "b", "c"]), 0.0),
        (1, True, CategoricalDistribution([1, "x"]), 0.0),
        ("1", 1, CategoricalDistribution([1, "1"]), 0.5),
        (None, "None", CategoricalDistribution([None, "None"]), 0.5),
    ],
)
def test_diversity_is_the_spread_in_units_of_the_range(
    one: object, other: object, distribution: BaseDistribution, diversity: float
) -> None:
    summary = summarize_generations(of_two(one, other, distribution))[0]
    assert summary.diversity == pytest.approx(diversity)


def test_diversity_is_the_mean_over_variables_of_those_alive() -> None:
    study = evolve()
    sampler = study.sampler
    assert isinstance(sampler, EPBTSampler)
    for generation, summary in enumerate(summarize_generations(study)):
        params = [trial.params for trial in sampler.get_population(study, generation)]
        kinds = Counter(repr(p["kind"]) for p in params)
        expected = mean(
            [
                pstdev(math.log(p["rate"]) / math.log(1e4) for p in params),
                pstdev(p["share"] for p in params),
                pstdev(p["width"] / 63 for p in params),
                1 - sum((n / len(params)) ** 2 for n in kinds.values()),
            ]
        )
        assert summary.diversity == pytest.approx(expected)


def test_individuals_without_variables_do_not_differ() -> None:
    study = evolve(objective=lambda trial: float(trial.number), n_trials=9)
    assert [summary.diversity for summary in summarize_generations(study)] == [0.0, 0.0]


@pytest.mark.filterwarnings("ignore:Choices for a categorical distribution")
@pytest.mark.parametrize(
    ("one", "other", "diversity"), [([1, 2], (1, 2), 0.0), ([1], (1, 2), 0.5), ("old", "new", 0.5)]
)
def test_categories_of_added_trials_need_not_be_those_of_the_others(
    one: object, other: object, diversity: float
) -> None:
    study = optuna.create_study(sampler=EPBTSampler(3, seed=0))
    add(study, 1.0, {"x": (CategoricalDistribution([one, "a"]), one)})  # type: ignore[list-item]
    add(study, 2.0, {"x": (CategoricalDistribution([other, "b"]), other)})  # type: ignore[list-item]
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    assert summarize_generations(study)[0].diversity == pytest.approx(diversity)


@pytest.mark.parametrize(("enqueued", "is_number"), [(3.0, True), (math.inf, False)])
def test_values_that_were_enqueued_outside_of_the_range_count(
    enqueued: float, is_number: bool
) -> None:
    study = optuna.create_study(sampler=EPBTSampler(2, seed=0))
    study.enqueue_trial({"x": enqueued})
    with pytest.warns(UserWarning, match="out of range"):
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    diversity = summarize_generations(study)[0].diversity
    assert (diversity > 1) == is_number
    assert math.isnan(diversity) != is_number
