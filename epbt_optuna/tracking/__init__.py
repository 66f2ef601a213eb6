"""Tracking: what a study leaves behind, where people look for it; here MLflow.

`mlflow.py` is the study callback. It only notes the numbers of finished trials; `worker.py`, a
thread, takes them from there, reads the trials from the study, tries again, and ends well.
`delivery.py` knows how each run comes to be there exactly once; `experiment.py` finds and makes
runs; `runs.py` is what a trial and a generation look like in MLflow.
"""

from __future__ import annotations

from epbt_optuna.tracking.experiment import TrackingError
from epbt_optuna.tracking.mlflow import MLflowTracker

__all__ = ["MLflowTracker", "TrackingError"]
