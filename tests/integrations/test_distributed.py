"""Two ranks train one trial: rank 0 has it, and both go the same way."""

from __future__ import annotations

import os
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
    assert (tmp_path / "finished").read_text() == "111"  # the fourth was pruned on rank 1, too
    first, second = ((tmp_path / f"rank{rank}.txt").read_text() for rank in (0, 1))
    assert first == second
    told = [line.split() for line in first.splitlines()]
    assert [float(lr) for _, lr, _ in told] == [trial.params["lr"] for trial in complete]
    assert [int(step) for step, _, _ in told] == [2, 2, 4]
    assert "epbt:checkpoint" not in pruned.system_attrs


def test_ranks_that_have_a_trial_each_are_refused_on_all_of_them(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        """
import optuna, torch
from epbt_optuna import CheckpointStore, EPBTSampler
from epbt_optuna.integrations.training import Training

torch.distributed.init_process_group("gloo")
trial = optuna.create_study(sampler=EPBTSampler(2)).ask()
try:
    Training(trial, CheckpointStore("checkpoints"), "accuracy", epochs=1).begin()
except TypeError as error:
    assert "ranks [0, 1] have one" in str(error)
    open(f"refused{torch.distributed.get_rank()}", "w")
torch.distributed.barrier()  # who leaves first would take the connection along
torch.distributed.destroy_process_group()
"""
    )
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(program)]
    subprocess.run(
        [sys.executable, *launch],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=300,
    )
    assert {path.name for path in tmp_path.glob("refused*")} == {"refused0", "refused1"}
