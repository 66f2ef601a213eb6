"""The samplers in whole studies: who breeds whom, what is reproducible, what users may do."""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import re
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import GridSampler, PartialFixedSampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import (
    BaseStorage,
    InMemoryStorage,
    RDBStorage,
    RetryHeartbeatStaleTrialCallback,
)
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import (
    EPBTSampler,
    GaussianMutation,
    PBTSampler,
    PerturbOrResample,
    TournamentSelection,
    UniformCrossover,
)
from epbt_optuna.journal import journal_storage
from tests.constraints import set_constraint
from tests.replay import Rules, check_lineage, lineage_of, populations

ROOT = Path(__file__).parents[1]

SUGGESTIONS: dict[str, Callable[[optuna.Trial], Any]] = {
    "float": lambda trial: trial.suggest_float("float", -5, 5),
    "log float": lambda trial: trial.suggest_float("log float", 1e-4, 1, log=True),
    "stepped float": lambda trial: trial.suggest_float("stepped float", 0, 1, step=0.1),
    "int": lambda trial: trial.suggest_int("int", -20, 20),
    "log int": lambda trial: trial.suggest_int("log int", 1, 500, log=True),
    "category": lambda trial: trial.suggest_categorical("category", ["a", "b", None]),
}
SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(0, 1),
    "y": FloatDistribution(0, 1),
    "z": FloatDistribution(0, 1),
}

Direction = Literal["maximize", "minimize"]
Objective = Callable[[optuna.Trial], float]
AnySampler = EPBTSampler | PBTSampler

experimental = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
both_samplers = pytest.mark.parametrize("sampler_class", [EPBTSampler, PBTSampler])


def suggest_all(trial: optuna.Trial) -> None:
    for suggest in SUGGESTIONS.values():
        suggest(trial)


def fitness_of(number: int) -> float:
    """A fitness that depends on the trial's number alone, with ties."""
    return round(float(np.random.default_rng([9, number]).normal()), 1)


def one_float(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


def plain(trial: optuna.Trial) -> float:
    suggest_all(trial)
    return fitness_of(trial.number)


def eventful(trial: optuna.Trial) -> float:
    """Everything that a trial can meet: pruned, failed, infinite, infeasible."""
    suggest_all(trial)
    number = trial.number
    if number % 11 == 5:
        raise optuna.TrialPruned
    if number % 13 == 7:
        return math.nan
    if number % 6 == 1:
        set_constraint(trial, "first", number % 4 - 1)
        set_constraint(trial, "second", -1.0)
    if number % 17 == 3:
        return math.inf
    if number % 19 == 4:
        return -math.inf
    return fitness_of(number)


def evolve(
    sampler: optuna.samplers.BaseSampler,
    n_trials: int,
    objective: Objective = plain,
    *,
    direction: Direction = "maximize",
    storage: BaseStorage | None = None,
) -> optuna.Study:
    study = optuna.create_study(direction=direction, sampler=sampler, storage=storage)
    study.optimize(objective, n_trials=n_trials)
    return study


def record_of(study: optuna.Study) -> list[Any]:
    """All that a run decides, trial by trial, as JSON has it."""
    record = [
        [trial.number, trial.state.name, trial.params, trial.values, lineage_of(trial)]
        for trial in study.trials
    ]
    return list(json.loads(json.dumps(record)))


def parent_of(trial: FrozenTrial) -> int | None:
    record = lineage_of(trial)
    assert record is not None
    parent: int | None = record["parent"]
    return parent


def mate_of(trial: FrozenTrial) -> int | None:
    record = lineage_of(trial)
    assert record is not None
    mate: int | None = record["mate"]
    return mate


def bred(study: optuna.Study) -> list[tuple[FrozenTrial, FrozenTrial]]:
    """Return every trial that has a parent, with its parent."""
    trials = study.trials
    parents = {trial.number: (lineage_of(trial) or {}).get("parent") for trial in trials}
    return [(trials[n], trials[parent]) for n, parent in parents.items() if parent is not None]


def rules_of(sampler: AnySampler, study: optuna.Study) -> Rules:
    assert sampler.population_size is not None
    return Rules(sampler.population_size, sampler.n_elites, study.direction)


def numbers(trials: list[FrozenTrial]) -> list[int]:
    return [trial.number for trial in trials]


def still(**options: Any) -> EPBTSampler:
    """An EPBTSampler whose offspring are their parents' copies."""
    return EPBTSampler(
        mutation=GaussianMutation(0.0, 0.0), crossover=UniformCrossover(0.0), **options
    )


# The algorithm


def test_the_papers_run_has_520_trials_bred_by_the_rules_and_elites_are_not_evaluated_again() -> (
    None
):
    sampler = EPBTSampler(population_size=40, n_elites=20, seed=0)
    assert sampler.n_trials(25) == 520 == 40 + 24 * 20
    study = evolve(sampler, sampler.n_trials(25))
    assert len(study.trials) == 520
    check_lineage(study.trials, rules_of(sampler, study))
    assert Counter(sampler.generation_of(trial.number) for trial in study.trials) == {
        0: 40,
        **dict.fromkeys(range(1, 25), 20),
    }
    assert all(mate_of(trial) is not None for trial in study.trials[40:])


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize(("population_size", "n_elites"), [(8, 4), (5, 0), (6, 5), (2, 1)])
def test_populations_of_an_eventful_run_are_those_of_the_naive_replay(
    direction: Direction, population_size: int, n_elites: int
) -> None:
    sampler = EPBTSampler(population_size, n_elites=n_elites, seed=1)
    study = evolve(sampler, sampler.n_trials(12), eventful, direction=direction)
    assert {trial.state for trial in study.trials} >= {TrialState.COMPLETE, TrialState.PRUNED}
    replayed = check_lineage(study.trials, rules_of(sampler, study))
    for generation, alive in enumerate(replayed):
        assert numbers(sampler.get_population(study, generation)) == numbers(alive)
        assert numbers(sampler.get_parent_population(study, generation + 1)) == numbers(alive)
        assert numbers(sampler.select_parent(study, generation + 1)) == numbers(alive)
    assert sampler.get_parent_population(study, 0) == []


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_an_eventful_run_of_pbt_keeps_the_rules_of_populations_without_elites(
    direction: Direction,
) -> None:
    sampler = PBTSampler(8, seed=1)
    study = evolve(sampler, sampler.n_trials(10), eventful, direction=direction)
    for generation, alive in enumerate(check_lineage(study.trials, rules_of(sampler, study))):
        assert numbers(sampler.get_population(study, generation)) == numbers(alive)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_best_fitness_of_the_population_never_worsens(direction: Direction) -> None:
    sampler = EPBTSampler(8, seed=2)
    study = evolve(sampler, sampler.n_trials(15), direction=direction)
    best = [sampler.get_population(study, generation)[0].values[0] for generation in range(15)]
    assert best == sorted(best, reverse=direction == "minimize")
    assert best[-1] == study.best_value


def test_evolution_finds_better_params_than_random_search() -> None:
    def sphere(trial: optuna.Trial) -> float:
        return sum((trial.suggest_float(f"x{i}", -5, 5) - 1) ** 2 for i in range(5))

    sampler = EPBTSampler(20, seed=0)
    n_trials = sampler.n_trials(20)
    evolved = evolve(sampler, n_trials, sphere, direction="minimize")
    drawn = evolve(RandomSampler(seed=0), n_trials, sphere, direction="minimize")
    assert evolved.best_value < drawn.best_value / 5


def test_sampler_and_trial_agree_on_the_generation() -> None:
    sampler = EPBTSampler(6, n_elites=4, seed=0)
    study = evolve(sampler, sampler.n_trials(4))
    generations = [g for g in range(4) for _ in sampler.trial_numbers(g)]
    for trial, generation in zip(study.trials, generations, strict=True):
        record = lineage_of(trial)
        assert record is not None
        assert record["generation"] == generation == sampler.generation_of(trial.number)
        assert sampler.get_trial_generation(study, trial) == generation


@both_samplers
def test_defaults_are_the_papers(sampler_class: type[AnySampler]) -> None:
    sampler = sampler_class()
    assert sampler.population_size == 40
    assert sampler.n_elites == (20 if sampler_class is EPBTSampler else 0)


def test_parents_win_as_often_as_tournaments_say_and_whatever_happens_to_their_genes() -> None:
    p, n_generations = 8, 400
    sampler = EPBTSampler(
        p,
        n_elites=0,
        mutation=GaussianMutation(0.0, reset_probability=0.5),
        crossover=UniformCrossover(0.0),
        seed=3,
    )

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("x", 0, 1)
        return float(np.random.default_rng(trial.number).normal())

    study = evolve(sampler, sampler.n_trials(n_generations), objective)
    alive = populations(study.trials, rules_of(sampler, study))
    ranks = [{t.number: rank for rank, t in enumerate(trials, 1)} for trials in alive]
    wins: Counter[tuple[int, bool]] = Counter()
    for trial, parent in bred(study):
        rank = ranks[sampler.generation_of(trial.number) - 1][parent.number]
        wins[rank, trial.params["x"] == parent.params["x"]] += 1
    share = wins.total() / (p * (p - 1))
    expected = {(r, kept): (p - r) * share for r in range(1, p) for kept in (True, False)}
    assert set(wins) <= set(expected)
    statistic = sum((wins[cell] - e) ** 2 / e for cell, e in expected.items())
    freedom = len(expected) - 1
    assert statistic < freedom + 5 * math.sqrt(2 * freedom)


def test_in_a_tournament_of_everybody_the_fittest_breeds_with_the_second() -> None:
    sampler = EPBTSampler(6, selection=TournamentSelection(6), seed=0)
    study = evolve(sampler, sampler.n_trials(8))
    alive = populations(study.trials, rules_of(sampler, study))
    trials = study.trials
    for trial in trials[6:]:
        first, second, *_ = alive[sampler.generation_of(trial.number) - 1]
        assert (parent_of(trial), mate_of(trial)) == (first.number, second.number)


def test_without_noise_resets_and_crossover_children_have_their_parents_params() -> None:
    sampler = still(population_size=6, seed=0)
    study = evolve(sampler, sampler.n_trials(6))
    assert len(bred(study)) == len(study.trials) - 6
    for trial, parent in bred(study):
        assert trial.params == parent.params
        assert trial.distributions == parent.distributions


def test_without_mutation_every_gene_is_the_parents_or_the_mates() -> None:
    sampler = EPBTSampler(6, mutation=GaussianMutation(0.0, 0.0), seed=0)
    study = evolve(sampler, sampler.n_trials(10))
    trials = study.trials
    n_from_mate = 0
    for trial, parent in bred(study):
        mate = mate_of(trial)
        assert mate is not None
        for name, value in trial.params.items():
            own, other = parent.params[name], trials[mate].params[name]
            assert value in (own, other)
            n_from_mate += value != own
    assert n_from_mate > 0


@pytest.mark.parametrize(
    "sampler",
    [EPBTSampler(6, n_elites=2, seed=0), EPBTSampler(6, n_elites=0, seed=0), PBTSampler(6, seed=0)],
)
def test_every_rank_leaves_as_many_in_the_next_population_as_it_can_expect(
    sampler: AnySampler,
) -> None:
    n_generations = 200
    study = evolve(sampler, sampler.n_trials(n_generations), one_float)
    alive = [
        numbers(population) for population in populations(study.trials, rules_of(sampler, study))
    ]
    n_left = Counter[int]()
    for trial, parent in bred(study):
        last = alive[sampler.generation_of(trial.number) - 1]
        n_left[last.index(parent.number)] += 1
    for rank in range(sampler.n_elites):
        n_left[rank] += n_generations - 1
    observed = [n_left[rank] / (n_generations - 1) for rank in range(6)]
    expected = sampler.expected_offspring()
    assert sum(expected) == pytest.approx(6)
    assert observed == pytest.approx(expected, abs=5 / math.sqrt(n_generations))


def test_a_population_with_losses_expects_as_many_offspring_as_a_whole_one() -> None:
    for sampler in (EPBTSampler(8, n_elites=3), PBTSampler(8)):
        expected = sampler.expected_offspring(5)
        assert len(expected) == 5
        assert sum(expected) == pytest.approx(8)


# PBT


def test_members_of_pbt_go_on_unless_they_are_in_the_worst_quarter_or_were_lost() -> None:
    p = 8
    sampler = PBTSampler(p, explore=PerturbOrResample(1.2, 0.0), seed=0)

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("x", 1, 100)
        if trial.number in (11, 30):
            raise optuna.TrialPruned
        return fitness_of(trial.number)

    study = evolve(sampler, sampler.n_trials(10), objective)
    alive = populations(study.trials, rules_of(sampler, study))
    n_replaced = 0
    for trial, parent in bred(study):
        last = numbers(alive[sampler.generation_of(trial.number) - 1])
        own, x, inherited = trial.number - p, trial.params["x"], parent.params["x"]
        assert mate_of(trial) is None
        if own in last[:-2]:
            assert parent.number == own
            assert x == inherited
        else:
            assert parent.number in last[:2]
            assert x in (min(inherited * 1.2, 100), max(inherited / 1.2, 1))
            n_replaced += 1
    assert n_replaced == 7 * 2 + 2 * (2 + 1)


def test_pbt_with_a_factor_of_one_and_no_resampling_only_copies() -> None:
    sampler = PBTSampler(6, explore=PerturbOrResample(1.0, 0.0), seed=0)
    study = evolve(sampler, sampler.n_trials(8))
    assert len(bred(study)) == 7 * 6
    assert all(trial.params == parent.params for trial, parent in bred(study))


def test_the_exploit_fraction_says_how_many_members_are_replaced() -> None:
    for fraction, n_replaced in ((0.1, 1), (0.5, 5)):
        sampler = PBTSampler(10, exploit_fraction=fraction, seed=0)
        study = evolve(sampler, 20)
        replaced = [trial for trial, parent in bred(study) if parent.number != trial.number - 10]
        assert len(replaced) == n_replaced


# Reproducible


def seeded_run(seed: int, order: tuple[str, ...] = tuple(SUGGESTIONS)) -> optuna.Study:
    def objective(trial: optuna.Trial) -> float:
        for name in order:
            SUGGESTIONS[name](trial)
        return fitness_of(trial.number)

    return evolve(EPBTSampler(6, seed=seed), 24, objective)


def recorded_runs(seed: int) -> list[Any]:
    """What another process has to come to as well, on its own."""
    space = {name: FloatDistribution(0, 1) for name in ("x", "y", "z", "u", "v", "w")}

    def objective(trial: optuna.Trial) -> float:
        return sum(trial.suggest_float(name, 0, 1) for name in space)

    samplers: list[AnySampler] = [
        EPBTSampler(6, seed=seed),
        PBTSampler(6, seed=seed),
        EPBTSampler(6, seed=seed, search_space=space),
        EPBTSampler(6, seed=seed, search_space=space, initial_sampler=RandomSampler(seed=seed)),
    ]
    return [record_of(evolve(sampler, 18, objective)) for sampler in samplers]


@both_samplers
def test_the_same_seed_gives_the_same_study(sampler_class: type[AnySampler]) -> None:
    one, other = (evolve(sampler_class(6, seed=5), 30, eventful) for _ in range(2))
    assert record_of(one) == record_of(other)


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_same_seed_gives_the_same_study_in_another_process(hash_seed: str) -> None:
    script = (
        "import json; from tests.test_samplers import recorded_runs;"
        "print(json.dumps(recorded_runs(5)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert json.loads(result.stdout) == recorded_runs(5)


@both_samplers
def test_a_seed_that_differs_gives_another_study_from_the_first_trial_on(
    sampler_class: type[AnySampler],
) -> None:
    one, other = (evolve(sampler_class(4, seed=seed), 12) for seed in (5, 6))
    assert all(a.params != b.params for a, b in zip(one.trials, other.trials, strict=True))


@both_samplers
def test_without_a_seed_two_samplers_differ(sampler_class: type[AnySampler]) -> None:
    one, other = (evolve(sampler_class(4), 4) for _ in range(2))
    assert all(a.params != b.params for a, b in zip(one.trials, other.trials, strict=True))


@both_samplers
@pytest.mark.parametrize("duplicate", [lambda s: pickle.loads(pickle.dumps(s)), copy.deepcopy])
@pytest.mark.parametrize("seed", [5, None])
def test_a_sampler_that_was_pickled_in_mid_run_goes_on_as_if_it_were_not(
    sampler_class: type[AnySampler], duplicate: Callable[[Any], Any], seed: int | None
) -> None:
    sampler = sampler_class(6, seed=seed)
    study = evolve(sampler, 15, eventful)
    copies = duplicate(sampler)
    whole = evolve(duplicate(sampler), 30, eventful)
    study.sampler = copies
    study.optimize(eventful, n_trials=15)
    assert record_of(study) == record_of(whole)


def test_the_order_in_which_params_are_suggested_does_not_matter() -> None:
    forward = seeded_run(5)
    backward = seeded_run(5, tuple(reversed(SUGGESTIONS)))
    for one, other in zip(forward.trials, backward.trials, strict=True):
        assert one.params == other.params
        assert lineage_of(one) == lineage_of(other)


def test_reseeding_between_trials_as_optuna_does_for_threads_changes_nothing() -> None:
    study = optuna.create_study(direction="maximize", sampler=EPBTSampler(6, seed=5))
    for _ in range(24):
        study.sampler.reseed_rng()
        study.optimize(plain, n_trials=1)
    assert record_of(study) == record_of(seeded_run(5))


@contextmanager
def storage_of_kind(kind: str, folder: Path) -> Iterator[BaseStorage]:
    if kind == "sqlite":
        storage = RDBStorage(f"sqlite:///{folder / 'study.db'}")
        yield storage
        storage.engine.dispose()
    elif kind == "journal":
        yield journal_storage(folder / "study.log")
    else:
        yield InMemoryStorage()


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_every_storage_gives_the_same_study_also_when_the_run_is_resumed(
    kind: str, tmp_path: Path
) -> None:
    expected = record_of(evolve(EPBTSampler(6, seed=5), 21, eventful))
    with storage_of_kind(kind, tmp_path) as storage:
        study = optuna.create_study(
            study_name="s", direction="maximize", sampler=EPBTSampler(6, seed=5), storage=storage
        )
        study.optimize(eventful, n_trials=10)
    with storage_of_kind(kind, tmp_path) as storage:
        resumed = optuna.load_study(study_name="s", sampler=EPBTSampler(6, seed=5), storage=storage)
        resumed.optimize(eventful, n_trials=11)
        assert record_of(resumed) == expected


def test_numpys_integers_are_good_for_every_storage(tmp_path: Path) -> None:
    size: Any = np.int64(4)
    with storage_of_kind("sqlite", tmp_path) as storage:
        study = evolve(EPBTSampler(size, n_elites=size // 2, seed=size), 7, storage=storage)
        assert record_of(study) == record_of(evolve(EPBTSampler(4, seed=4), 7))


def test_one_sampler_serves_several_studies_without_mixing_them() -> None:
    sampler = EPBTSampler(6, seed=5)
    storage = InMemoryStorage()
    studies = [
        optuna.create_study(direction=direction, sampler=sampler, storage=storage)
        for direction in ("maximize", "minimize")
    ]
    for _ in range(24):
        for study in studies:
            study.optimize(plain, n_trials=1)
    assert record_of(studies[0]) == record_of(seeded_run(5))
    for study in studies:
        check_lineage(study.trials, rules_of(sampler, study))


def test_founders_are_uniform_and_their_variables_independent() -> None:
    n = 2000
    study = evolve(
        EPBTSampler(n, seed=0),
        n,
        lambda trial: trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1),
    )
    draws = np.array([[trial.params["x"], trial.params["y"]] for trial in study.trials])
    for column in draws.T:
        counts = np.histogram(column, bins=20, range=(0, 1))[0]
        assert ((counts - n / 20) ** 2 / (n / 20)).sum() < 19 + 5 * math.sqrt(2 * 19)
        assert abs(np.corrcoef(column[:-1], column[1:])[0, 1]) < 5 / math.sqrt(n)
    assert abs(np.corrcoef(draws.T)[0, 1]) < 5 / math.sqrt(n)


# Enqueued, added, retried, and other samplers' trials


def test_an_enqueued_offspring_keeps_its_fixed_params_and_inherits_the_rest() -> None:
    sampler = still(population_size=6, seed=0)
    study = evolve(sampler, 6)
    study.enqueue_trial({"float": 1.25, "category": "b"})
    study.optimize(plain, n_trials=1)
    ((trial, parent),) = bred(study)
    assert trial.number == 6
    assert parent.number in numbers(sampler.get_population(study, 0))
    assert trial.params == {**parent.params, "float": 1.25, "category": "b"}


def test_an_enqueued_founder_keeps_its_fixed_params_and_the_rest_is_drawn() -> None:
    study = optuna.create_study(sampler=EPBTSampler(6, seed=0), direction="maximize")
    study.enqueue_trial({"float": 1.25})
    study.optimize(plain, n_trials=6)
    unfixed = evolve(EPBTSampler(6, seed=0), 6)
    assert study.trials[0].params == {**unfixed.trials[0].params, "float": 1.25}
    assert [t.params for t in study.trials[1:]] == [t.params for t in unfixed.trials[1:]]


def test_an_enqueued_trial_with_all_its_params_fixed_has_a_parent_too() -> None:
    sampler = EPBTSampler(6, seed=0)
    study = evolve(sampler, 6)
    everything = {**study.trials[0].params, "float": 0.5}
    study.enqueue_trial(everything)
    study.optimize(plain, n_trials=7)
    assert study.trials[6].params == everything
    check_lineage(study.trials, rules_of(sampler, study))
    assert parent_of(study.trials[6]) is not None


def test_enqueued_trials_are_the_individuals_that_their_numbers_make_them() -> None:
    sampler = EPBTSampler(4, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for i in range(7):
        study.enqueue_trial({"float": i / 10})
    study.optimize(plain, n_trials=9)
    check_lineage(study.trials, rules_of(sampler, study))
    assert [trial.params["float"] for trial in study.trials[:7]] == [i / 10 for i in range(7)]
    assert [parent_of(trial) is None for trial in study.trials] == [True] * 4 + [False] * 5


def added(value: float | None, state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
    return optuna.create_trial(
        state=state,
        value=value,
        params={"x": 0.125, "y": 0.25},
        distributions={name: FloatDistribution(0, 1) for name in "xy"},
    )


def xy(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1) - trial.suggest_float("y", 0, 1)


def test_added_trials_count_and_are_founders_and_parents() -> None:
    sampler = still(population_size=4, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials([added(5.0), added(6.0), added(None, TrialState.FAIL), added(7.0)])
    study.optimize(xy, n_trials=2)
    assert [lineage_of(trial) for trial in study.trials[:4]] == [None] * 4
    assert numbers(sampler.get_population(study, 0)) == [3, 1, 0]
    assert [trial.number for trial, _ in bred(study)] == [4, 5]
    for trial, parent in bred(study):
        assert parent.number in (3, 1)
        assert trial.params == parent.params


def test_a_trial_added_in_mid_run_takes_its_place_in_the_generation() -> None:
    sampler = EPBTSampler(4, seed=0)
    study = evolve(sampler, 5, xy)
    study.add_trial(added(100.0))
    study.optimize(xy, n_trials=4)
    alive = check_lineage(study.trials, rules_of(sampler, study))
    assert numbers(alive[1])[0] == 5
    assert numbers(sampler.get_population(study, 1)) == numbers(alive[1])


def test_offspring_of_a_trial_without_params_are_drawn() -> None:
    sampler = EPBTSampler(2, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials([optuna.create_trial(value=1.0), optuna.create_trial(value=2.0)])
    study.optimize(xy, n_trials=1)
    assert parent_of(study.trials[2]) in (0, 1)
    assert study.trials[2].params.keys() == {"x", "y"}


def test_trials_of_another_sampler_are_founders_and_parents() -> None:
    sampler = EPBTSampler(4, seed=0)
    study = evolve(RandomSampler(seed=0), 5, xy)
    study.sampler = sampler
    study.optimize(xy, n_trials=2)
    study.sampler = RandomSampler(seed=1)
    study.optimize(xy, n_trials=2)
    study.sampler = sampler
    study.optimize(xy, n_trials=4)
    alive = check_lineage(study.trials, rules_of(sampler, study))
    recorded = [lineage_of(trial) is not None for trial in study.trials]
    assert recorded == [False] * 5 + [True] * 2 + [False] * 2 + [True] * 4
    for generation in range(5):
        assert numbers(sampler.get_population(study, generation)) == numbers(alive[generation])


def fail_after_suggesting(study: optuna.Study, names: tuple[str, ...]) -> FrozenTrial:
    trial = study.ask()
    for name in names:
        SUGGESTIONS[name](trial)
    study.tell(trial, state=TrialState.FAIL)
    return study.trials[trial.number]


@experimental
def test_a_retried_trial_keeps_parent_mate_and_params_though_its_generation_is_another() -> None:
    sampler = EPBTSampler(4, seed=0)
    study = evolve(sampler, 4)
    failed = fail_after_suggesting(study, ("float", "int"))
    study.optimize(plain, n_trials=3)
    retry = RetryHeartbeatStaleTrialCallback()
    retry(study, failed)
    study.optimize(plain, n_trials=1)
    retried = study.trials[8]
    record = lineage_of(failed)
    assert record is not None
    assert lineage_of(retried) == {**record, "generation": 3}
    assert (sampler.generation_of(4), sampler.generation_of(8)) == (1, 3)
    assert failed.params.items() <= retried.params.items()
    assert retried.params.keys() == SUGGESTIONS.keys()
    check_lineage(study.trials, rules_of(sampler, study))


@experimental
def test_a_trial_that_is_retried_again_and_again_keeps_its_parent() -> None:
    sampler = EPBTSampler(4, seed=0)
    study = evolve(sampler, 4)
    first = failed = fail_after_suggesting(study, ("float",))
    for _ in range(3):
        RetryHeartbeatStaleTrialCallback()(study, failed)
        failed = fail_after_suggesting(study, ("float", "int"))
    assert (parent_of(failed), mate_of(failed)) == (parent_of(first), mate_of(first))
    assert failed.params["float"] == first.params["float"]
    check_lineage(study.trials, rules_of(sampler, study))


@experimental
def test_a_retried_founder_stays_a_founder() -> None:
    sampler = EPBTSampler(4, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    failed = fail_after_suggesting(study, ("float",))
    study.optimize(plain, n_trials=6)
    RetryHeartbeatStaleTrialCallback()(study, failed)
    study.optimize(plain, n_trials=1)
    assert lineage_of(study.trials[7]) == {"generation": 2, "parent": None, "mate": None}
    assert study.trials[7].params["float"] == failed.params["float"]
    assert study.trials[7].params.keys() == SUGGESTIONS.keys()
    check_lineage(study.trials, rules_of(sampler, study))


@experimental
def test_a_retried_trials_missing_params_are_bred_from_the_recorded_parent() -> None:
    study = evolve(still(population_size=4, seed=0), 4)
    RetryHeartbeatStaleTrialCallback()(study, fail_after_suggesting(study, ()))
    study.optimize(plain, n_trials=1)
    (failed, parent_of_failed), (retried, parent) = bred(study)
    assert parent.number == parent_of_failed.number
    assert (failed.params, retried.params) == ({}, parent.params)


# Stragglers: trials that still run when the next generation starts


def test_offspring_breed_from_those_of_the_last_generation_that_have_finished() -> None:
    sampler = EPBTSampler(4, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    founders = [study.ask() for _ in range(4)]
    for founder in founders:
        suggest_all(founder)
    study.tell(founders[1], 1.0)
    study.tell(founders[3], 2.0)
    study.optimize(plain, n_trials=2)
    trials = study.trials
    for trial in trials[4:]:
        assert {parent_of(trial), mate_of(trial)} == {1, 3}
    check_lineage(study.trials, rules_of(sampler, study), stragglers=True)


def test_where_nobody_has_finished_offspring_are_founders_with_one_warning_a_study() -> None:
    sampler = EPBTSampler(2, n_elites=0, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.ask()
    study.ask()
    with pytest.warns(UserWarning, match="Generation 1 breeds from 0 individuals"):
        study.ask()
    for _ in range(5):
        suggest_all(study.ask())
    assert [parent_of(trial) for trial in study.trials] == [None] * 8
    assert all(trial.params.keys() == SUGGESTIONS.keys() for trial in study.trials[3:])
    study.tell(1, 1.0)
    study.ask()
    assert parent_of(study.trials[8]) == 1


def test_a_straggler_that_finishes_late_changes_the_populations_after_it() -> None:
    sampler = EPBTSampler(4, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    straggler = study.ask()
    study.optimize(plain, n_trials=9)
    assert 0 not in numbers(sampler.get_population(study, 2))
    study.tell(straggler, 1000.0)
    alive = populations(study.trials, rules_of(sampler, study))
    for generation in range(4):
        assert numbers(sampler.get_population(study, generation)) == numbers(alive[generation])
        assert numbers(alive[generation])[0] == 0
    study.optimize(plain, n_trials=20)
    assert any(parent_of(trial) == 0 for trial in study.trials)


def test_threads_without_a_barrier_breed_from_earlier_generations() -> None:
    sampler = EPBTSampler(8, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(eventful, n_trials=sampler.n_trials(10), n_jobs=2)
    check_lineage(study.trials, rules_of(sampler, study), stragglers=True)
    assert all(parent_of(trial) is not None for trial in study.trials[9:])


@pytest.mark.parametrize("n_zombies", [0, 3])
def test_reads_of_the_storage_do_not_grow_with_the_study(
    n_zombies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = InMemoryStorage()
    study = optuna.create_study(
        direction="maximize", sampler=EPBTSampler(8, seed=0), storage=storage
    )
    for _ in range(n_zombies):
        study.ask()
    n_reads = [0]
    get_trial, get_all_trials = storage.get_trial, storage.get_all_trials

    def counted(trial_id: int) -> FrozenTrial:
        n_reads[-1] += 1
        return get_trial(trial_id)

    def only_waiting(
        study_id: int, deepcopy: bool = True, states: tuple[TrialState, ...] | None = None
    ) -> list[FrozenTrial]:
        assert states == (TrialState.WAITING,), "only Optuna's own look for enqueued trials"
        return get_all_trials(study_id, deepcopy, states)

    monkeypatch.setattr(storage, "get_trial", counted)
    monkeypatch.setattr(storage, "get_all_trials", only_waiting)
    for _ in range(400):
        trial = study.ask()
        suggest_all(trial)
        study.tell(trial, fitness_of(trial.number))
        n_reads.append(0)
    assert max(n_reads[300:]) <= max(n_reads[8:100])
    assert sum(n_reads[300:400]) <= sum(n_reads[8:108])


# Founders, feasible offspring, spaces


def decreasing(params: Mapping[str, Any]) -> bool:
    return bool(params["x"] >= params["y"])


def xyz(trial: optuna.Trial) -> float:
    return sum(trial.suggest_float(name, 0, 1) for name in "xyz")


@both_samplers
def test_with_a_search_space_founders_and_offspring_are_feasible(
    sampler_class: type[AnySampler],
) -> None:
    sampler = sampler_class(10, search_space=SPACE, feasible=decreasing, seed=0)
    study = evolve(sampler, 60, xyz)
    assert all(decreasing(trial.params) for trial in study.trials)


def test_without_a_search_space_offspring_are_feasible_and_founders_need_not_be() -> None:
    study = evolve(EPBTSampler(10, feasible=decreasing, seed=0), 60, xyz)
    assert not all(decreasing(trial.params) for trial in study.trials[:10])
    assert all(decreasing(trial.params) for trial in study.trials[10:])


def test_feasible_judges_the_params_that_an_enqueued_trial_fixes() -> None:
    sampler = EPBTSampler(10, search_space=SPACE, feasible=decreasing, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial({"y": 0.5})
    study.optimize(xyz, n_trials=12)
    study.enqueue_trial({"y": 0.25})
    study.optimize(xyz, n_trials=1)
    for number, y in ((0, 0.5), (12, 0.25)):
        params = study.trials[number].params
        assert params["y"] == y
        assert decreasing(params)


def test_a_predicate_that_nothing_passes_gives_a_warning_and_not_a_hang() -> None:
    calls = []

    def never(params: Mapping[str, Any]) -> bool:
        calls.append(params)
        return False

    study = optuna.create_study(sampler=EPBTSampler(2, search_space=SPACE, feasible=never, seed=0))
    with pytest.warns(UserWarning, match="None of 100 bred genomes was `feasible`") as caught:
        study.optimize(xyz, n_trials=3)
    assert len(caught) == 3
    assert len(calls) == 300
    assert [trial.params for trial in study.trials] == calls[99::100]


def test_variables_of_the_search_space_that_the_objective_never_suggests_are_not_recorded() -> None:
    study = evolve(EPBTSampler(4, search_space=SPACE, seed=0), 8, one_float)
    assert all(trial.params.keys() == {"x"} for trial in study.trials)


@experimental
def test_the_initial_sampler_draws_generation_0_only() -> None:
    alone = evolve(QMCSampler(seed=0), 8, xyz)
    sampler = still(population_size=8, initial_sampler=QMCSampler(seed=0), seed=0)
    study = evolve(sampler, 24, xyz)
    assert [t.params for t in study.trials[:8]] == [t.params for t in alone.trials]
    founders = [trial.params for trial in study.trials[:8]]
    assert all(trial.params in founders for trial in study.trials[8:])
    check_lineage(study.trials, rules_of(sampler, study))


@experimental
def test_with_a_search_space_a_quasi_random_sampler_draws_every_founder() -> None:
    sampler = EPBTSampler(
        8, initial_sampler=QMCSampler(seed=0, scramble=False), search_space=SPACE, seed=0
    )
    study = evolve(sampler, 8, xyz)
    halves = [tuple(trial.params[name] >= 0.5 for name in "xyz") for trial in study.trials]
    assert len(set(halves[:2])) == 2
    first = [trial.params["x"] for trial in study.trials]
    assert sorted(first) == [i / 8 for i in range(8)]


@experimental
def test_founders_of_an_initial_sampler_are_held_to_feasible_in_a_search_space() -> None:
    sampler = EPBTSampler(
        8, initial_sampler=QMCSampler(seed=0), search_space=SPACE, feasible=decreasing, seed=0
    )
    study = evolve(sampler, 8, xyz)
    assert all(decreasing(trial.params) for trial in study.trials)


def test_an_initial_sampler_without_relative_sampling_draws_every_variable() -> None:
    alone = evolve(RandomSampler(seed=3), 6, xyz)
    for search_space in (None, SPACE):
        sampler = EPBTSampler(
            6, initial_sampler=RandomSampler(seed=3), search_space=search_space, seed=0
        )
        study = evolve(sampler, 6, xyz)
        assert [t.params for t in study.trials] == [t.params for t in alone.trials]


def test_a_model_based_initial_sampler_learns_from_founders() -> None:
    n_told = 0

    class Counting(TPESampler):
        def after_trial(self, *args: Any, **kwargs: Any) -> None:
            nonlocal n_told
            n_told += 1
            super().after_trial(*args, **kwargs)

    alone = evolve(TPESampler(n_startup_trials=4, seed=0), 8, xyz)
    study = evolve(
        EPBTSampler(8, initial_sampler=Counting(n_startup_trials=4, seed=0), seed=0), 16, xyz
    )
    assert [t.params for t in study.trials[:8]] == [t.params for t in alone.trials]
    assert n_told == 8


@pytest.mark.parametrize("search_space", [None, SPACE])
def test_an_initial_sampler_that_prepares_each_trial_is_let_do_so(
    search_space: dict[str, BaseDistribution] | None,
) -> None:
    def grid() -> GridSampler:
        return GridSampler({name: [0.0, 0.5, 1.0] for name in "xyz"}, seed=0)

    sampler = EPBTSampler(8, initial_sampler=grid(), search_space=search_space, seed=0)
    study, alone = evolve(sampler, 8, xyz), evolve(grid(), 8, xyz)
    assert [t.params for t in study.trials] == [t.params for t in alone.trials]


@experimental
def test_params_can_be_fixed_for_a_while_with_optunas_own_wrapper() -> None:
    sampler = still(population_size=4, seed=0)
    study = evolve(sampler, 6, xyz)
    study.sampler = PartialFixedSampler({"y": 0.125}, sampler)
    study.optimize(xyz, n_trials=4)
    check_lineage(study.trials, rules_of(sampler, study))
    assert [trial.number for trial, _ in bred(study)] == [4, 5, 6, 7, 8, 9]
    for trial, parent in bred(study)[2:]:
        assert trial.params == {**parent.params, "y": 0.125}


@both_samplers
def test_ranges_may_depend_on_the_trial(sampler_class: type[AnySampler]) -> None:
    def objective(trial: optuna.Trial) -> float:
        high = 1 + trial.number % 5
        x = trial.suggest_float("x", 0, high)
        n = trial.suggest_int("n", 0, 10 * high, step=high)
        assert 0 <= x <= high
        assert n in range(0, 10 * high + 1, high)
        return x + n

    evolve(sampler_class(6, seed=0), 60, objective)


def test_variables_may_depend_on_other_variables() -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.suggest_categorical("optimizer", ["sgd", "adam"]) == "sgd":
            return trial.suggest_float("momentum", 0, 1)
        return trial.suggest_float("beta", 0, 1) + trial.suggest_float("eps", 1e-9, 1, log=True)

    sampler = EPBTSampler(6, seed=0)
    study = evolve(sampler, 60, objective)
    check_lineage(study.trials, rules_of(sampler, study))
    names = {"sgd": {"optimizer", "momentum"}, "adam": {"optimizer", "beta", "eps"}}
    assert all(trial.params.keys() == names[trial.params["optimizer"]] for trial in study.trials)
    offspring = [trial.params["optimizer"] for trial in study.trials[6:]]
    assert set(offspring) == {"sgd", "adam"}


def test_a_variable_that_joins_the_space_later_is_drawn_once_and_then_inherited() -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        return x if trial.number < 6 else trial.suggest_float("late", 0, 1)

    study = evolve(still(population_size=4, seed=0), 20, objective)
    pairs = [(trial.params["late"], parent.params.get("late")) for trial, parent in bred(study)[2:]]
    assert any(inherited is None for _, inherited in pairs)
    assert any(inherited is not None for _, inherited in pairs)
    assert all(late == inherited for late, inherited in pairs if inherited is not None)


@pytest.mark.parametrize("sampler", [EPBTSampler(2, seed=0), RandomSampler(seed=0)])
def test_choices_that_change_are_optunas_own_error_as_with_any_sampler(
    sampler: optuna.samplers.BaseSampler,
) -> None:
    study = evolve(sampler, 3, lambda t: float(t.suggest_categorical("c", [1, 2])))
    with pytest.raises(ValueError, match="does not support dynamic value space"):
        study.optimize(lambda t: float(t.suggest_categorical("c", [1, 2, 3])), n_trials=1)


def test_a_fixed_param_outside_its_range_does_not_spread_to_offspring() -> None:
    study = optuna.create_study(direction="maximize", sampler=EPBTSampler(2, seed=0))
    study.enqueue_trial({"x": 7.0})
    with pytest.warns(UserWarning, match="out of range"):
        study.optimize(one_float, n_trials=1)
    study.optimize(one_float, n_trials=20)
    assert all(0 <= trial.params["x"] <= 1 for trial in study.trials[1:])


def test_a_pruner_that_shows_samplers_a_part_of_the_study_does_not_disturb_populations() -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        for step in range(4):
            trial.report(x, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return x

    sampler = EPBTSampler(6, seed=0)
    study = optuna.create_study(
        direction="maximize", sampler=sampler, pruner=optuna.pruners.HyperbandPruner()
    )
    study.optimize(objective, n_trials=30)
    assert TrialState.PRUNED in {trial.state for trial in study.trials}
    check_lineage(study.trials, rules_of(sampler, study))


# One arithmetic a study


@pytest.mark.parametrize(
    ("sampler", "has"),
    [
        (EPBTSampler(6), "6 and 3"),
        (EPBTSampler(4, n_elites=1), "4 and 1"),
        (PBTSampler(4), "4 and 0"),
    ],
)
def test_a_study_cannot_go_on_with_generations_of_another_size(
    sampler: AnySampler, has: str
) -> None:
    study = evolve(EPBTSampler(4, seed=0), 6)
    study.sampler = sampler
    message = f"begun with a population_size of 4 and 2 elites.* but the sampler has {has}"
    with pytest.raises(ValueError, match=message):
        study.optimize(plain, n_trials=1)


def test_a_study_can_go_on_with_other_operators() -> None:
    study = evolve(EPBTSampler(4, seed=0), 6)
    study.sampler = still(population_size=4, n_elites=2, seed=1)
    study.optimize(plain, n_trials=2)
    assert all(trial.params == parent.params for trial, parent in bred(study)[2:])


# Bad input


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: EPBTSampler(1), ValueError, "`population_size` must be at least 2 but got 1."),
        (lambda: PBTSampler(1), ValueError, "`population_size` must be at least 2 but got 1."),
        (
            lambda: EPBTSampler(8.0),  # type: ignore[arg-type]
            TypeError,
            "`population_size` must be an integer but got 8.0.",
        ),
        (
            lambda: PBTSampler(True),
            TypeError,
            "`population_size` must be an integer but got True.",
        ),
        (
            lambda: EPBTSampler(8, n_elites=8),
            ValueError,
            "`n_elites` must be at most 7 but got 8.",
        ),
        (
            lambda: EPBTSampler(8, n_elites=-1),
            ValueError,
            "`n_elites` must be at least 0 but got -1.",
        ),
        (
            lambda: EPBTSampler(8, n_elites=0.5),  # type: ignore[arg-type]
            TypeError,
            "`n_elites` must be an integer but got 0.5.",
        ),
        (
            lambda: EPBTSampler(8, selection=TournamentSelection(9)),
            ValueError,
            "`selection.size` must be at most `population_size` (8) but got 9.",
        ),
        (
            lambda: PBTSampler(8, exploit_fraction=0.75),
            ValueError,
            "`exploit_fraction` must be in (0, 0.5] but got 0.75.",
        ),
        (lambda: EPBTSampler(seed=-1), ValueError, "`seed` must be at least 0 but got -1."),
        (
            lambda: PBTSampler(seed=1.5),  # type: ignore[arg-type]
            TypeError,
            "`seed` must be an integer but got 1.5.",
        ),
        (lambda: EPBTSampler(seed=False), TypeError, "`seed` must be an integer but got False."),
        (
            lambda: EPBTSampler().n_trials(0),
            ValueError,
            "`n_generations` must be at least 1 but got 0.",
        ),
        (
            lambda: EPBTSampler().n_trials(2.0),  # type: ignore[arg-type]
            TypeError,
            "`n_generations` must be an integer but got 2.0.",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name_rule_and_value(
    make: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        make()


@both_samplers
def test_two_objectives_are_refused_by_the_name_of_the_sampler(
    sampler_class: type[AnySampler],
) -> None:
    study = optuna.create_study(directions=["maximize"] * 2, sampler=sampler_class())
    message = f"{sampler_class.__name__} is for studies with one objective but this one has 2"
    with pytest.raises(ValueError, match=message):
        study.optimize(lambda trial: (trial.number, 0.0), n_trials=1)


def test_a_recorded_parent_that_the_study_does_not_have_is_named() -> None:
    study = evolve(EPBTSampler(2, seed=0), 2, xy)
    attrs = {"epbt:lineage": {"generation": 1, "parent": 77, "mate": None}}
    study.add_trial(optuna.create_trial(state=TrialState.WAITING, system_attrs=attrs))
    with pytest.raises(ValueError, match="Trial 77 does not exist in study"):
        study.optimize(xy, n_trials=1)


def test_nothing_here_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evolve(EPBTSampler(4, seed=0), 12, eventful)
