"""The MLflow tracker as a callback of `parallel.optimize`: on every engine, every trial once."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from epbt_optuna.parallel import optimize
from epbt_optuna.tracking import MLflowTracker
from tests.tracking.checks import check
from tests.tracking.servers import database, empty_database
from tests.tracking.training import objective, open_journal

__all__ = ["database", "empty_database"]  # fixtures

pytestmark = pytest.mark.usefixtures("untraced_workers")

N_GENERATIONS = 4
N_TRIALS = 6 + (N_GENERATIONS - 1) * 3


@pytest.mark.parametrize(
    "engine", ["thread", "process", pytest.param("ray", marks=pytest.mark.xdist_group("ray"))]
)
def test_every_engine_brings_every_trial_once(
    engine: Literal["thread", "process", "ray"], database: str, tmp_path: Path
) -> None:
    study = open_journal(str(tmp_path / "study.log"))
    with MLflowTracker(database, experiment=engine, pictures_every=0) as tracker:
        optimize(
            study,
            objective,
            n_generations=N_GENERATIONS,
            workers=2,
            engine=engine,
            callbacks=[tracker],
            catch=MemoryError,
            show_progress_bar=False,
        )
    check(study, database, N_TRIALS, engine)
