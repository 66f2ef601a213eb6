"""Settings for the whole suite: Hypothesis, Optuna, torch, and what packages read when imported."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import torch
from hypothesis import HealthCheck, settings

# CI tries more, and the same examples every time, so that a red run can be repeated.
settings.register_profile("ci", max_examples=300, deadline=None, derandomize=True)
# A benchmark of the machine is not wanted: a slow example is no failure.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

optuna.logging.set_verbosity(optuna.logging.WARNING)

torch.set_num_threads(1)  # networks here are small; threads would only wait for one another

# Read when these are imported, by tests and by the processes that tests start.
os.environ["KERAS_BACKEND"] = "torch"
os.environ["HF_HUB_OFFLINE"] = "1"  # nothing here needs the hub; say so rather than wait for it
os.environ["MPLBACKEND"] = "agg"  # no window is wanted

# A suite started in the background ignores Ctrl-C, and so would the runs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Coverage traces every line, Optuna's and SQLAlchemy's too: a test of many trials takes up to twice
# as long. What these cover of the package, others cover, too.
UNTRACED = (
    "benchmarks",
    "contract/test_same_studies.py",
    "docs",
    "integration",
    "integrations/test_examples.py",
    "paper",
    "parallel/test_same_seed.py",
    "properties",
)
_FOLDER = Path(__file__).parent
_FOR_CHILDREN = "COVERAGE_PROCESS_CONFIG"  # tells processes that a test starts to trace, too


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Run a test, and what sets it up, without tracing where that is not worth its time."""
    path = item.path.relative_to(_FOLDER)
    if not any(path.is_relative_to(untraced) for untraced in UNTRACED):
        return (yield)
    of_this_thread, of_new_ones = sys.gettrace(), threading.gettrace()
    for_children = os.environ.pop(_FOR_CHILDREN, None)
    sys.settrace(None)
    threading.settrace(None)
    try:
        return (yield)
    finally:
        threading.settrace(of_new_ones)
        sys.settrace(of_this_thread)
        if for_children is not None:
            os.environ[_FOR_CHILDREN] = for_children
