"""Pictures of a population's history, from the package `epbt-optuna`."""

from epbt_optuna.visualization import (
    plot_generations,
    plot_lineage,
    plot_loss_functions,
    plot_schedule,
)

__all__ = ["plot_generations", "plot_lineage", "plot_loss_functions", "plot_schedule"]
