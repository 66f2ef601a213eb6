"""EPBTPruner on batches: all members stand at the same report when it looks at them."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.trial import TrialState

from epbt_optuna import EPBTPruner, EPBTSampler
from epbt_optuna.batched import Generation, optimize
from tests.batched.separate import history_of


def make_study() -> optuna.Study:
    sampler = EPBTSampler(12, n_elites=6, seed=0)
    return optuna.create_study(direction="maximize", sampler=sampler, pruner=EPBTPruner())


def objective(generation: Generation) -> Any:
    x = generation.suggest_float("x", 0, 1).double()
    for step in range(4):
        generation.report(x + step, step)
        generation.should_prune()
    return x + 3


def test_who_has_no_future_is_pruned_and_the_seed_decides_who() -> None:
    one, other = make_study(), make_study()
    optimize(one, objective, n_generations=5)
    optimize(other, objective, n_generations=5)
    pruned = [trial for trial in one.trials if trial.state == TrialState.PRUNED]
    assert pruned
    assert history_of(one) == history_of(other)


def test_a_batch_leaves_as_many_to_breed_as_the_pruner_wants() -> None:
    study = make_study()
    study.pruner = EPBTPruner(min_offspring=1.0, n_min_trials=1, min_survivors=4)
    optimize(study, objective, n_generations=6)
    generations = [study.trials[i : i + 6] for i in range(12, len(study.trials), 6)]
    n_pruned = [sum(t.state == TrialState.PRUNED for t in trials) for trials in generations]
    assert max(n_pruned) == 2
