"""Real networks whose weights are averaged with their mates': every start is recomputed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from torch import nn

from epbt_optuna import CheckpointStore, EPBTSampler
from epbt_optuna.journal import journal_storage
from epbt_optuna.parallel import optimize
from tests.replay import Rules, check_lineage

WEIGHT = 0.3


class MishapError(Exception):
    """Fails a trial."""


class Training:
    """Trains a small network with batch normalisation for two steps, from an averaged start.

    Some trials are pruned, some fail, and in some a buffer of the model is not a number, so that
    no average with them is finite. No global random state is used: threads run side by side.
    """

    def __init__(self, folder: Path) -> None:
        self.starts: dict[int, str] = {}  # of the trials of this process
        self.checkpoints = CheckpointStore(folder / "checkpoints")

    def __call__(self, trial: optuna.Trial) -> float:
        rate = trial.suggest_float("rate", 1e-4, 0.3, log=True)
        numbers = torch.Generator().manual_seed(trial.number)
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=numbers))
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
        state = self.checkpoints.inherit(trial, mate_weight=WEIGHT)
        if state is not None:
            self.starts[trial.number] = plain(state)
            state["model"].pop("odd")
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
        for _ in range(2):
            x = torch.randn(8, 3, generator=numbers)
            optimizer.zero_grad()
            loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
            loss.backward()
            optimizer.step()
        if trial.number % 6 == 1:
            raise optuna.TrialPruned
        if trial.number % 11 == 5:
            raise MishapError
        odd = torch.tensor(torch.nan if trial.number % 9 == 4 else float(trial.number))
        self.checkpoints.save(
            trial,
            {
                "model": {**model.state_dict(), "odd": odd},
                "optimizer": optimizer.state_dict(),
                "epoch": trial.number,
            },
        )
        return float(loss.detach())


def expected_start(parent: Any, mate: Any) -> tuple[Any, bool]:
    """Return what a child of these states starts from, and whether its weights are averaged."""

    def average(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x.float() * (1 - WEIGHT) + y.float() * WEIGHT).to(x.dtype)

    start = {**parent, "model": {}, "optimizer": {**parent["optimizer"], "state": {}}}
    averages = []
    for name, x in parent["model"].items():
        is_count = name.endswith("num_batches_tracked")
        start["model"][name] = x if is_count else average(x, mate["model"][name])
        averages.append(start["model"][name])
    for index, buffers in parent["optimizer"]["state"].items():
        others = mate["optimizer"]["state"][index]
        start["optimizer"]["state"][index] = {
            name: x if name == "step" else average(x, others[name]) for name, x in buffers.items()
        }
        averages += start["optimizer"]["state"][index].values()
    if all(x.isfinite().all() for x in averages):
        return start, True
    return parent, False


def check_starts(study: optuna.Study, training: Training) -> dict[str, int]:
    """Recompute what each offspring started from; return how many of each kind there were."""
    counts = {"averaged": 0, "parent alone": 0}
    saved = {
        trial.number: training.checkpoints.load(trial)
        for trial in study.get_trials(states=[TrialState.COMPLETE])
    }
    for trial in study.get_trials(deepcopy=False):
        lineage = trial.system_attrs["epbt:lineage"]
        if lineage["parent"] is None:
            assert "epbt:mixed" not in trial.system_attrs
            continue
        expected, is_averaged = expected_start(saved[lineage["parent"]], saved[lineage["mate"]])
        assert training.starts[trial.number] == plain(expected), trial.number
        recorded = trial.system_attrs.get("epbt:mixed")
        assert (recorded is not None) == is_averaged
        if recorded is not None:
            assert (recorded["mate"], recorded["weight"]) == (lineage["mate"], WEIGHT)
        counts["averaged" if is_averaged else "parent alone"] += 1
    return counts


def plain(state: Any) -> str:
    """Return all of a state's values, exactly."""
    if isinstance(state, torch.Tensor):
        return f"{state.dtype} {state.tolist()}"
    if isinstance(state, dict):
        return str([(key, plain(value)) for key, value in state.items()])
    return str([plain(value) for value in state]) if isinstance(state, list) else repr(state)


def make_study(folder: Path, sampler: EPBTSampler, *, shared: bool = True) -> optuna.Study:
    folder.mkdir()
    storage = journal_storage(folder / "log") if shared else None
    return optuna.create_study(storage=storage, sampler=sampler)


def test_an_independent_replay_finds_every_start_of_500_trials(tmp_path: Path) -> None:
    sampler = EPBTSampler(20, n_elites=10, seed=0)
    study = make_study(tmp_path / "run", sampler, shared=False)
    training = Training(tmp_path / "run")
    study.optimize(training, n_trials=sampler.n_trials(49), catch=MishapError)
    assert len(study.trials) == 500
    states = {trial.state for trial in study.trials}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
    check_lineage(study.trials, Rules(20, 10, StudyDirection.MINIMIZE))
    counts = check_starts(study, training)
    assert sum(counts.values()) == 480
    assert min(counts.values()) > 20


def summary(trial: FrozenTrial, training: Training) -> list[Any]:
    """Return what runs with the same seed have in common."""
    attrs = trial.system_attrs
    mixed = {key: value for key, value in attrs.get("epbt:mixed", {}).items() if key != "token"}
    weights = ""
    if trial.state == TrialState.COMPLETE:
        saved = plain(training.checkpoints.load(trial))
        weights = hashlib.sha256(saved.encode()).hexdigest()
    return [trial.number, trial.state.name, trial.params, trial.values, mixed, weights]


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> list[list[Any]]:
    folder = tmp_path_factory.mktemp("serial") / "run"
    study, training = make_study(folder, EPBTSampler(6, n_elites=2, seed=1)), Training(folder)
    study.optimize(training, n_trials=6 + 4 * 4, catch=MishapError)
    assert any("epbt:mixed" in trial.system_attrs for trial in study.trials)
    return [summary(trial, training) for trial in study.trials]


@pytest.mark.parametrize(("engine", "workers"), [("thread", 1), ("thread", 3), ("process", 2)])
def test_the_same_seed_gives_the_same_averages_for_any_number_of_workers(
    tmp_path: Path, serial: list[list[Any]], engine: Any, workers: int
) -> None:
    folder = tmp_path / "run"
    study, training = make_study(folder, EPBTSampler(6, n_elites=2, seed=1)), Training(folder)
    devices = ["cpu"] * workers
    optimize(study, training, n_generations=5, devices=devices, engine=engine, catch=MishapError)
    assert [summary(trial, training) for trial in study.trials] == serial
