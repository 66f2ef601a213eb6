"""Pictures of studies and schedules, in Optuna's manner: study → plain data → figure.

The functions here return plotly figures; their twins in `epbt_optuna.visualization.matplotlib`
draw the same for print. What is shown is decided once, as plain data, in `_figure_data`; the
backends only draw. plotly and matplotlib (extra `visualization`) are imported when something is
plotted.
"""

from epbt_optuna.visualization import matplotlib
from epbt_optuna.visualization._plotly._generations import plot_generations
from epbt_optuna.visualization._plotly._lineage import plot_lineage
from epbt_optuna.visualization._plotly._loss_functions import plot_loss_functions
from epbt_optuna.visualization._plotly._schedule import plot_schedule

__all__ = ["matplotlib", "plot_generations", "plot_lineage", "plot_loss_functions", "plot_schedule"]
