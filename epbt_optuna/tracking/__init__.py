"""Tracking: what a study leaves behind, where people look for it: MLflow, optuna-dashboard.

`mlflow.py` is the study callback: it notes the numbers of finished trials. `worker.py`, a thread,
has each read from the study and brought by `delivery.py`, which knows how a run comes to be there
exactly once; `experiment.py` finds and makes runs. `runs.py` is what a trial's run holds,
`parent.py` and `pictures.py` what the study's own does, and `models.py` checkpoints as models.
`dashboard.py` writes what optuna-dashboard shows.
"""

from epbt_optuna.tracking.experiment import TrackingError
from epbt_optuna.tracking.mlflow import MLflowTracker

__all__ = ["MLflowTracker", "TrackingError"]
