"""Many workers: threads, processes with a GPU each or sharing one, and Ray beyond one machine.

Breeding needs no coordination, so workers started by hand on one storage are as good; what
`optimize` adds is one command, devices, the barrier between generations, and that a seed gives
the same study for any number of workers.

`optimize.py` checks what the user wants; `driver.py` asks the trials that `queue.py` says are next
and hands them to one of the `engines`, whose workers run them as `worker.py` says.
"""

from __future__ import annotations

from epbt_optuna.parallel.devices import current_device
from epbt_optuna.parallel.optimize import optimize

__all__ = ["current_device", "optimize"]
