"""A whole generation trained as one network whose tensors have a leading dimension of members."""

from epbt_optuna._internal.each import each
from epbt_optuna._internal.extras import needs

with needs("torch", "`epbt_optuna.batched`"):
    from epbt_optuna.batched.clipping import clip_grad_norm_
    from epbt_optuna.batched.layers import Dropout
    from epbt_optuna.batched.loss import cross_entropy
    from epbt_optuna.batched.optimizers import SGD, AdamW
    from epbt_optuna.batched.stack import Stack, stack

__all__ = ["SGD", "AdamW", "Dropout", "Stack", "clip_grad_norm_", "cross_entropy", "each", "stack"]
