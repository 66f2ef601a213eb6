"""Loss functions that a genome can hold, so that evolution can shape what a network minimises."""

from epbt_optuna._internal.extras import needs

with needs("torch", "`epbt_optuna.losses`, with `TaylorGLOLoss`,"):
    from epbt_optuna.losses.functional import taylor_glo_loss
    from epbt_optuna.losses.taylor_glo import TaylorGLOLoss
    from epbt_optuna.losses.theta import cross_entropy_like, is_trainable

__all__ = ["TaylorGLOLoss", "cross_entropy_like", "is_trainable", "taylor_glo_loss"]
