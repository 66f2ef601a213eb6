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
    "batched/test_divergence.py",
    "batched/test_modules.py",
    "batched/test_pruning.py",
    "batched/test_same_as_a_loop.py",
    "benchmarks",
    "checkpoints/test_choosing.py",
    "checkpoints/test_choosing_bound.py",
    "checkpoints/test_misuse.py",
    "checkpoints/test_runs_of_a_trial.py",
    "cli/test_damaged_records.py",
    "contract/test_optuna_suites.py",
    "contract/test_private_names.py",
    "contract/test_same_studies.py",
    "contract/test_version_0_1.py",
    "docs",
    "integration",
    "integrations/test_by_hand.py",
    "integrations/test_distributed.py",
    "integrations/test_examples.py",
    "integrations/test_lightning.py",
    "integrations/test_transformers.py",
    "internal/test_attrs.py",
    "lineage/test_graph.py",
    "lineage/test_trials_of_other_studies.py",
    "losses/test_members.py",
    "losses/test_taylor_glo_properties.py",
    "losses/test_transforms.py",
    "operators/test_page.py",
    "paper",
    "parallel/test_ray.py",
    "parallel/test_ray_workers.py",
    "parallel/test_same_seed.py",
    "parallel/test_tracked.py",
    "population/test_fitness.py",
    "properties/test_averages.py",
    "properties/test_checkpoint_damage.py",
    "properties/test_operator_laws.py",
    "properties/test_population_laws.py",
    "properties/test_pruner_laws.py",
    "pruning/test_expected_offspring.py",
    "pruning/test_no_future.py",
    "pruning/test_studies.py",
    "samplers/test_generations.py",
    "samplers/test_grids_and_categories.py",
    "samplers/test_inherited.py",
    "samplers/test_same_seed.py",
    "samplers/test_spaces.py",
    "samplers/test_stragglers.py",
    "samplers/test_trained_elites.py",
    "test_layout.py",
    "test_package.py",
    "tracking/test_batched.py",
    "tracking/test_delivery.py",
    "tracking/test_in_a_browser.py",
    "tracking/test_mlflow.py",
    "tracking/test_parent.py",
    "tracking/test_sync_command.py",
    "tracking/test_worker.py",
    "tuning",
    "visualization/test_averaged.py",
    "visualization/test_damaged_records.py",
    "visualization/test_descent.py",
    "visualization/test_markup.py",
)
"""Tests, and folders of tests: what these run of the package, others do, too, but a few lines."""

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
