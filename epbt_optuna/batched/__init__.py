"""A whole generation trained as one network whose tensors have a leading dimension of members.

`stack.py` makes the network, `optimizers.py` and others what trains it with hyperparameters of each
member. `generation.py` is what an objective gets in place of a trial; `driver.py` asks, trains and
tells whole generations, and `recovery.py` finds what a driver that is gone has left.
"""

from epbt_optuna._internal.each import each
from epbt_optuna._internal.extras import needs

with needs("torch", "`epbt_optuna.batched`"):
    from epbt_optuna.batched.clipping import clip_grad_norm_
    from epbt_optuna.batched.generation import Generation
    from epbt_optuna.batched.layers import Dropout
    from epbt_optuna.batched.loss import cross_entropy
    from epbt_optuna.batched.mode import SuggestedMode, suggest_mode
    from epbt_optuna.batched.optimize import optimize
    from epbt_optuna.batched.optimizers import SGD, AdamW
    from epbt_optuna.batched.stack import Stack, stack

__all__ = [
    "SGD",
    "AdamW",
    "Dropout",
    "Generation",
    "Stack",
    "SuggestedMode",
    "clip_grad_norm_",
    "cross_entropy",
    "each",
    "optimize",
    "stack",
    "suggest_mode",
]
