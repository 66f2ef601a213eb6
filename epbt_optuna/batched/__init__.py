"""A whole generation trained as one network whose tensors have a leading dimension of members."""

from epbt_optuna._internal.each import each
from epbt_optuna._internal.extras import needs

with needs("torch", "`epbt_optuna.batched`"):
    import torch as _torch  # noqa: F401

from epbt_optuna.batched.generation import Generation
from epbt_optuna.batched.optimize import optimize

__all__ = ["Generation", "each", "optimize"]
