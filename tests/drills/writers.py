"""Many writers: processes that share one study, with nothing to do but to write to it.

As a program, `python -m tests.drills.writers`, it forks the writers from a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import EPBTSampler
from tests.drills.processes import forked, repository, exit_status, quiet_environment
from tests.drills.studies import open_storage
from tests.replay import Rules, check_lineage

__all__ = ["Writers", "check_writers", "run"]
