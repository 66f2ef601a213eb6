"""The examples of the frameworks train, and go on where they stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples" / "frameworks").glob("with_*.py"))


@pytest.mark.parametrize("program", EXAMPLES, ids=lambda program: program.stem)
def test_an_example_trains_and_loads_its_winner(program: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def run() -> str:
        result = subprocess.run(
            [sys.executable, program],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return result.stdout.splitlines()[-1]

    said = run()
    storage = f"sqlite:///{tmp_path}/study.db"
    (name,) = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage)
    states = {trial.state for trial in study.trials}
    assert states <= {TrialState.COMPLETE, TrialState.PRUNED}
    lineages = [trial.system_attrs["epbt:lineage"] for trial in study.trials]
    assert max(lineage["generation"] for lineage in lineages) >= 3
    if program.stem == "with_lightning":  # the quickest to start again
        assert run() == said
        assert len(study.get_trials()) == len(lineages)


def test_an_example_is_short() -> None:
    assert EXAMPLES
    for program in EXAMPLES:
        assert len(program.read_text().splitlines()) <= 60, program.name
