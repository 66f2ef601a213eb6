"""Individuals from which nobody will descend stop early."""

import optuna
import optunahub

from epbt_optuna import EPBTSampler

EPBTPruner = optunahub.load_module("pruners/epbt").EPBTPruner


def objective(trial: optuna.Trial) -> float:
    rate = trial.suggest_float("rate", 0.0, 1.0)
    value = 0.0
    for step in range(10):
        value += rate * (1.0 - value)
        trial.report(value, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return value


sampler = EPBTSampler(population_size=8, seed=0)
study = optuna.create_study(direction="maximize", sampler=sampler, pruner=EPBTPruner())
study.optimize(objective, n_trials=sampler.n_trials(5))
n_pruned = len(study.get_trials(states=[optuna.trial.TrialState.PRUNED]))
print(f"{n_pruned} of {len(study.trials)} trials were stopped early.")
