"""Workers on a real GPU: several on one, weights that are handed on, a context that is lost."""

from __future__ import annotations

import os
from pathlib import Path

import optuna
import pytest
import torch
from optuna.trial import FrozenTrial
from torch import nn

from epbt_optuna import CheckpointStore, EPBTSampler
from epbt_optuna.journal import journal_storage
from epbt_optuna.parallel import current_device, optimize

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")

N_GENERATIONS = 2


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return optuna.create_study(
        storage=journal_storage(tmp_path / "study.log"),
        sampler=EPBTSampler(4, n_elites=2, seed=0),
        direction="maximize",
    )


def test_two_workers_share_a_gpu_and_children_go_on_from_weights_on_it(
    study: optuna.Study, tmp_path: Path
) -> None:
    checkpoints = CheckpointStore(tmp_path / "checkpoints")

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("x", 0, 1)
        device = current_device()
        trial.set_user_attr("place", [str(device), os.getpid()])
        model = nn.Linear(2, 1, bias=False, device=device)
        state = checkpoints.inherit(trial, map_location=device)
        if state is None:
            nn.init.zeros_(model.weight)
        else:
            assert state["model"]["weight"].device == device
            model.load_state_dict(state["model"])
        with torch.no_grad():
            model.weight += 1
        checkpoints.save(trial, {"model": model.state_dict()})
        return float(model.weight.mean())

    n_trials = EPBTSampler(4, n_elites=2).n_trials(N_GENERATIONS)
    optimize(study, objective, n_trials, devices=["cuda:0", "cuda:0"])
    assert [trial.value for trial in study.trials] == [1.0] * 4 + [2.0] * 2
    places = [trial.user_attrs["place"] for trial in study.trials]
    assert {device for device, _ in places} == {"cuda:0"}
    assert len({process for _, process in places}) == 2
    winner = checkpoints.load(study.best_trial, map_location="cpu")
    torch.testing.assert_close(winner["model"]["weight"], torch.full((1, 2), 2.0))


def test_a_worker_whose_cuda_context_is_lost_is_replaced_and_the_run_goes_on(
    study: optuna.Study,
) -> None:
    processes: list[int] = []

    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr("process", os.getpid())
        rows = torch.ones(2, device=current_device())
        if trial.number == 0:
            rows = rows[torch.tensor([5], device=rows.device)]  # of 2: a device-side assert
        return float(rows.sum())

    def remember(_: optuna.Study, trial: FrozenTrial) -> None:
        processes.append(trial.user_attrs["process"])

    optimize(study, objective, 3, devices=["cuda:0"], catch=RuntimeError, callbacks=[remember])
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert processes[0] != processes[1] == processes[2]
