"""Who breeds whom in whole studies, with EPBT and with PBT."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from epbt_optuna import (
    EPBTSampler,
    GaussianMutation,
    PBTSampler,
    PerturbOrResample,
    TournamentSelection,
    UniformCrossover,
)
from tests.replay import check_lineage, lineage_of, populations
from tests.samplers.studies import (
    AnySampler,
    Direction,
    both_samplers,
    bred,
    eventful,
    evolve,
    fitness_of,
    mate_of,
    numbers,
    one_float,
    parent_of,
    rules_of,
    still,
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


def test_what_is_missing_of_a_run_is_what_was_never_asked() -> None:
    sampler = EPBTSampler(4, n_elites=2, seed=0)
    study = optuna.create_study(sampler=sampler)
    assert sampler.n_trials(3, study) == sampler.n_trials(3) == 8
    for x in (0.1, 0.2, 0.3):
        study.enqueue_trial({"x": x})  # these have numbers already, but are still to be run
    assert sampler.n_trials(3, study) == 8
    study.tell(study.ask(), 1.0)
    study.tell(study.ask(), state=TrialState.FAIL)
    study.ask()  # runs elsewhere
    assert sampler.n_trials(3, study) == 5
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), sampler.n_trials(3, study))
    assert len(study.trials) == 8
    assert sampler.n_trials(3, study) == 0 == sampler.n_trials(1, study)
    assert sampler.n_trials(4, study) == 2


def test_what_is_missing_is_refused_where_another_population_would_count_it() -> None:
    study = evolve(EPBTSampler(4, n_elites=2, seed=0), 8)
    message = "was begun with a population_size of 4 and 2 elites, .* the sampler has 2 and 1"
    with pytest.raises(ValueError, match=message):
        EPBTSampler(2).n_trials(3, study)  # 4 trials: none would be missing


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
