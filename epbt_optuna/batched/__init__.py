"""A whole generation trained as one network whose tensors have a leading dimension of members.

`stack.py` makes the network, `layers.py` what vmap alone cannot do in it. `generation.py` is what
an objective gets in place of a trial; `driver.py` asks, trains and tells whole generations, and
`recovery.py` finds what a driver that is gone has left.
"""

from epbt_optuna._internal.each import each
from epbt_optuna._internal.extras import needs

with needs("torch", "`epbt_optuna.batched`"):
    from epbt_optuna.batched.generation import Generation
    from epbt_optuna.batched.layers import Dropout
    from epbt_optuna.batched.optimize import optimize
    from epbt_optuna.batched.stack import Stack, stack

__all__ = ["Dropout", "Generation", "Stack", "each", "optimize", "stack"]
