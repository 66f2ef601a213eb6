"""Two ranks train one trial: rank 0 has it, and both go the same way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import optuna
import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = "tests.integrations.distributed"


@pytest.mark.parametrize("framework", ["lightning", "transformers"])
def test_ranks_inherit_train_and_are_pruned_together(framework: str, tmp_path: Path) -> None:
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", PROGRAM]
    subprocess.run(
        [sys.executable, *launch, framework, str(tmp_path)], cwd=ROOT, check=True, timeout=300
    )
    study = optuna.load_study(study_name="ranks", storage=f"sqlite:///{tmp_path}/study.db")
    *complete, pruned = study.trials
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3 + ["PRUNED"]
    assert (tmp_path / "pruned").exists()
    first, second = ((tmp_path / f"rank{rank}.txt").read_text() for rank in (0, 1))
    assert first == second
    told = [line.split() for line in first.splitlines()]
    assert [float(lr) for _, lr, _ in told] == [trial.params["lr"] for trial in complete]
    assert [int(step) for step, _, _ in told] == [2, 2, 4]
    assert "epbt:checkpoint" not in pruned.system_attrs
