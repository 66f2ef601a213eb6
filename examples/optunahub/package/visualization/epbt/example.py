"""Who descends from whom, as a picture."""

import optuna
import optunahub

from epbt_optuna import EPBTSampler

plot_lineage = optunahub.load_module("visualization/epbt").plot_lineage


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0.0, 1.0)


sampler = EPBTSampler(population_size=8, seed=0)
study = optuna.create_study(direction="maximize", sampler=sampler)
study.optimize(objective, n_trials=sampler.n_trials(5))
figure = plot_lineage(study)
figure.write_html("lineage.html")
