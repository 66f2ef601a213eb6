"""Frameworks: what each restores by itself is the parent's, hyperparameters included.

Every framework has a way to go on from a checkpoint, and each brings back the learning rate that
was in it. What lives here does the same work and leaves the hyperparameters to this trial:

- `lightning.py`, `transformers.py`: a callback for each of the two trainers;
- `training.py`: what both callbacks share, one trial from its parent's checkpoint to its own;
- `scikit_learn.py`, `keras.py`: a function each.

Stable-Baselines3, XGBoost and LightGBM need nothing of ours but a few lines: see the page "Your
framework". A framework is imported when its name here is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from epbt_optuna.integrations.keras import restore_model
    from epbt_optuna.integrations.lightning import LightningCallback
    from epbt_optuna.integrations.scikit_learn import restore_estimator
    from epbt_optuna.integrations.transformers import TransformersCallback

__all__ = ["LightningCallback", "TransformersCallback", "restore_estimator", "restore_model"]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "keras": ["restore_model"],
        "lightning": ["LightningCallback"],
        "scikit_learn": ["restore_estimator"],
        "transformers": ["TransformersCallback"],
    },
)
