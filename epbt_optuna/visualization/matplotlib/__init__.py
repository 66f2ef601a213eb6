"""The pictures of `epbt_optuna.visualization`, drawn by matplotlib.

Each function takes an optional `figure` to draw into, such as a subfigure of a larger one. In a
background thread, pass a `matplotlib.figure.Figure`: the default one is pyplot's, which is for
the main thread and stays open until it is closed.
"""

from epbt_optuna.visualization.matplotlib._generations import plot_generations
from epbt_optuna.visualization.matplotlib._lineage import plot_lineage
from epbt_optuna.visualization.matplotlib._loss_functions import plot_loss_functions
from epbt_optuna.visualization.matplotlib._schedule import plot_schedule

__all__ = ["plot_generations", "plot_lineage", "plot_loss_functions", "plot_schedule"]
