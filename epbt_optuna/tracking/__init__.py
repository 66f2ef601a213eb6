"""Tracking: what a study leaves behind, where people look for it; here MLflow.

`mlflow.py` is the study callback. It does nothing but hand finished trials over: `_courier.py`
starts a process beside training, with `_spool.py`, a file, between the two. In that process
`_program.py` takes what comes, tries again, and ends well; `_delivery.py` knows how each run comes
to be there exactly once; `_runs.py` is what a trial and a generation look like in MLflow.
"""

from __future__ import annotations

from epbt_optuna.tracking._courier import TrackingError
from epbt_optuna.tracking.mlflow import MLflowTracker

__all__ = ["MLflowTracker", "TrackingError"]
