"""Enhanced Population-Based Training for Optuna.

Trials inherit their parent's weights and evolve hyperparameters and loss functions while they
train. The public names stand in `__init__.pyi`, where type checkers look for them too. Each is
imported when it is first used, so `import epbt_optuna` costs neither torch nor anything else that a
process may not need.
"""

from __future__ import annotations

import pkgutil

import lazy_loader

__version__ = "0.2.0.dev0"

__getattr__, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)

# Packages are attributes, but `from epbt_optuna import *` leaves them out: some need an extra.
__all__ = sorted({*_names} - {module.name for module in pkgutil.iter_modules(__path__)})
