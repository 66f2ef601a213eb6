"""What coverage need not look at, and so does not slow down.

It traces every line that Python runs, those of Optuna, SQLAlchemy and MLflow too. That makes a test
of many trials take up to twice as long.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["PATHS", "is_untraced", "untraced", "untraced_children"]

PATHS = (
    "batched/test_same_as_a_loop.py",
    "benchmarks",
    "checkpoints/test_choosing.py",
    "checkpoints/test_choosing_bound.py",
    "cli/test_damaged_records.py",
    "contract/test_same_studies.py",
    "docs",
    "integration",
    "integrations/test_examples.py",
    "lineage/test_trials_of_other_studies.py",
    "losses/test_taylor_glo_properties.py",
    "losses/test_transforms.py",
    "operators/test_page.py",
    "paper",
    "parallel/test_same_seed.py",
    "properties/test_operator_laws.py",
    "properties/test_population_laws.py",
    "properties/test_pruner_laws.py",
    "pruning/test_no_future.py",
    "pruning/test_studies.py",
    "samplers/test_generations.py",
    "samplers/test_trained_elites.py",
    "tuning",
    "visualization/test_damaged_records.py",
    "visualization/test_descent.py",
    "visualization/test_markup.py",
)
"""Tests, and folders of tests: what these run of the package, others do, too."""

_FOLDER = Path(__file__).parent
_FOR_CHILDREN = "COVERAGE_PROCESS_CONFIG"  # tells a process at its start to trace


def is_untraced(test: Path) -> bool:
    """Return whether a file of tests is named in `PATHS`."""
    return any(test.is_relative_to(_FOLDER / path) for path in PATHS)


@contextmanager
def untraced() -> Iterator[None]:
    """Trace nothing, neither here nor in threads and processes that are started meanwhile."""
    of_this_thread, of_new_ones = sys.gettrace(), threading.gettrace()
    with untraced_children():
        sys.settrace(None)
        threading.settrace(None)
        try:
            yield
        finally:
            threading.settrace(of_new_ones)
            sys.settrace(of_this_thread)


@contextmanager
def untraced_children() -> Iterator[None]:
    """Trace nothing in processes that are started meanwhile: servers that are not ours."""
    settings = os.environ.pop(_FOR_CHILDREN, None)
    try:
        yield
    finally:
        if settings is not None:
            os.environ[_FOR_CHILDREN] = settings
