"""Settings for the whole suite: Hypothesis, Optuna, torch, and what packages read when imported."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import nullcontext

import optuna
import pytest
import torch
from hypothesis import HealthCheck, settings

from tests.untraced import is_untraced, untraced

# CI tries more, and the same examples every time, so that a red run can be repeated.
settings.register_profile("ci", max_examples=300, deadline=None, derandomize=True)
# A benchmark of the machine is not wanted: a slow example is no failure.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

optuna.logging.set_verbosity(optuna.logging.WARNING)
optuna.logging.enable_propagation()  # to where pytest collects it

torch.set_num_threads(1)  # networks here are small; threads would only wait for one another

# Read when these are imported, by tests and by the processes that tests start.
os.environ["KERAS_BACKEND"] = "torch"
os.environ["HF_HUB_OFFLINE"] = "1"  # nothing here needs the hub; say so rather than wait for it
os.environ["MPLBACKEND"] = "agg"  # no window is wanted
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # here: processes for it would import torch first

# A suite started in the background ignores Ctrl-C, and so would the runs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Run a test, and what sets it up, without tracing where that is not worth its time."""
    with untraced() if is_untraced(item.path) else nullcontext():
        return (yield)


@pytest.fixture(autouse=True)
def _no_figure_stays_open() -> Iterator[None]:
    """Close what a test has drawn: of many figures that are open pyplot warns, in another test."""
    yield
    if (pyplot := sys.modules.get("matplotlib.pyplot")) is not None:
        pyplot.close("all")
