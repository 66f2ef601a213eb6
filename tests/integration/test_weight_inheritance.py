"""Over whole runs, each child starts from exactly the weights its recorded parent saved."""

from __future__ import annotations

import threading
from pathlib import Path

import optuna
import pytest
import torch

from epbt_optuna import CheckpointStore, EPBTSampler, PBTSampler
from tests.replay import Rules, check_lineage


class WeightObjective:
    """Trains a vector by noise, and keeps what each trial started from and saved."""

    def __init__(self, folder: Path) -> None:
        self.checkpoints = CheckpointStore(folder)
        self.started_from: dict[int, torch.Tensor | None] = {}
        self.saved: dict[int, torch.Tensor] = {}
        self._lock = threading.Lock()

    def __call__(self, trial: optuna.Trial) -> float:
        scale = trial.suggest_float("scale", 0.0, 1.0)
        state = self.checkpoints.inherit(trial)
        generator = torch.Generator().manual_seed(trial.number)
        start = None if state is None else state["weights"].clone()
        weights = torch.zeros(50) if start is None else start.clone()
        weights += scale * torch.randn(50, generator=generator)
        self.checkpoints.save(trial, {"weights": weights})
        with self._lock:
            self.started_from[trial.number] = start
            self.saved[trial.number] = weights
        if trial.number % 11 == 5:
            raise optuna.TrialPruned
        return float(-weights.square().sum())


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("sampler", [EPBTSampler(10, seed=0), PBTSampler(10, seed=0)])
def test_each_child_starts_from_weights_bit_equal_to_what_its_parent_saved(
    sampler: EPBTSampler | PBTSampler, n_jobs: int, tmp_path: Path
) -> None:
    objective = WeightObjective(tmp_path)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=sampler.n_trials(12), n_jobs=n_jobs)
    n_children = 0
    for trial in study.trials:
        parent = trial.system_attrs["epbt:lineage"]["parent"]
        start = objective.started_from[trial.number]
        if parent is None:
            assert start is None
        else:
            assert start is not None
            assert torch.equal(start, objective.saved[parent])
            n_children += 1
    assert n_children == sampler.n_trials(12) - 10


def test_the_best_individual_can_be_loaded_after_the_run(tmp_path: Path) -> None:
    objective = WeightObjective(tmp_path)
    sampler = EPBTSampler(10, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=sampler.n_trials(5))
    check_lineage(study.trials, Rules(10, 5, optuna.study.StudyDirection.MAXIMIZE))
    best = objective.checkpoints.load(study.best_trial)
    assert torch.equal(best["weights"], objective.saved[study.best_trial.number])
    assert float(-best["weights"].square().sum()) == study.best_value
