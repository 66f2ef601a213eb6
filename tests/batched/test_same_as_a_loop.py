"""A study in batches is the study of a loop: params, lineage, values, weights, moments, ages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import TrialState
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from epbt_optuna import (
    CheckpointStore,
    EPBTSampler,
    PBTSampler,
    TaylorGLOLoss,
    batched,
    restore_optimizer,
)
from epbt_optuna.batched import Generation
from tests.batched.separate import RULES, make_study
from tests.replay import check_lineage, lineage_of

N_GENERATIONS = 4
TOLERANCE = 1e-9


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    """Compute with as many digits as Optuna has for a learning rate."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def data(device: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(48, 5, generator=generator, device="cpu").to(device)
    return x, (x[:, 0] > x[:, 1]).long() + (x[:, 2] > 1)


def build() -> nn.Module:
    """Make a network, the same at each call."""
    torch.manual_seed(0)
    # A bias before BatchNorm has no gradient but rounding errors, which AdamW makes larger.
    first = nn.Linear(5, 8, bias=False)
    return nn.Sequential(first, nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


class SGD:
    """What both objectives make of a learning rate, with momentum and weight decay."""

    def batch(self, model: batched.Stack, generation: Generation) -> Any:
        lr = generation.suggest_float("lr", 1e-2, 0.3, log=True)
        decay = generation.suggest_float("decay", 1e-5, 1e-2, log=True)
        return batched.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=decay)

    def one(self, model: nn.Module, trial: optuna.Trial) -> torch.optim.Optimizer:
        lr = trial.suggest_float("lr", 1e-2, 0.3, log=True)
        decay = trial.suggest_float("decay", 1e-5, 1e-2, log=True)
        return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=decay)


class AdamW:
    """The same, for the other optimizer."""

    def batch(self, model: batched.Stack, generation: Generation) -> Any:
        return batched.AdamW(model.parameters(), lr=generation.suggest_float("lr", 1e-3, 0.1))

    def one(self, model: nn.Module, trial: optuna.Trial) -> torch.optim.Optimizer:
        return torch.optim.AdamW(model.parameters(), lr=trial.suggest_float("lr", 1e-3, 0.1))


class Objectives:
    """One objective, for a batch and for a trial."""

    def __init__(self, data: tuple[Tensor, Tensor], folder: Path, optimizer: SGD | AdamW) -> None:
        self.x, self.y = data
        self.checkpoints = CheckpointStore(folder)
        self._optimizer = optimizer

    def batch(self, generation: Generation) -> Tensor:
        model = batched.stack(build, len(generation))
        optimizer = self._optimizer.batch(model, generation)
        loss_fn = TaylorGLOLoss.suggest(generation, -1, 1)
        epoch = generation.inherit(model=model, optimizer=optimizer, epoch=0)["epoch"]
        for x, y in zip(self.x.split(16), self.y.split(16), strict=True):
            losses = loss_fn(model(x), y) + batched.cross_entropy(model(x), y)
            losses.sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        generation.save(model=model, optimizer=optimizer, epoch=epoch + 1)
        model.eval()
        with torch.no_grad():
            return -batched.cross_entropy(model(self.x), self.y)

    def one(self, trial: optuna.Trial) -> float:
        model = build()
        optimizer = self._optimizer.one(model, trial)
        loss_fn = TaylorGLOLoss.suggest(trial, -1, 1)
        epoch = 0
        if (state := self.checkpoints.inherit(trial)) is not None:
            model.load_state_dict(state["model"])
            restore_optimizer(optimizer, state["optimizer"])
            epoch = state["epoch"]
        for x, y in zip(self.x.split(16), self.y.split(16), strict=True):
            (loss_fn(model(x), y) + cross_entropy(model(x), y)).backward()
            optimizer.step()
            optimizer.zero_grad()
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        self.checkpoints.save(trial, {**state, "epoch": epoch + 1})
        model.eval()
        with torch.no_grad():
            return -float(cross_entropy(model(self.x), self.y))


def check_equal(one: Any, other: Any, path: str = "state") -> None:
    """Check that two states have the same keys, and the same numbers but for rounding."""
    if isinstance(one, dict):  # torch's own is an OrderedDict
        assert isinstance(other, dict), path
        assert one.keys() == other.keys(), path
        for key in one:
            check_equal(one[key], other[key], f"{path}[{key!r}]")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), path
        for i, pair in enumerate(zip(one, other, strict=True)):
            check_equal(*pair, f"{path}[{i}]")
    elif isinstance(one, Tensor):
        assert one.shape == other.shape
        assert one.dtype == other.dtype, path
        torch.testing.assert_close(one, other, rtol=TOLERANCE, atol=TOLERANCE, msg=path)
    else:
        assert isinstance(one, bool) == isinstance(other, bool), path
        assert one == pytest.approx(other, rel=TOLERANCE), path


@pytest.mark.parametrize("optimizer", [SGD(), AdamW()], ids=["SGD", "AdamW"])
@pytest.mark.parametrize("max_batch", [None, 2])
def test_batches_and_a_loop_give_the_same_study(
    data: tuple[Tensor, Tensor], tmp_path: Path, optimizer: SGD | AdamW, max_batch: int | None
) -> None:
    loop, batches = make_study(), make_study()
    alone = Objectives(data, tmp_path / "alone", optimizer)
    together = Objectives(data, tmp_path / "together", optimizer)
    loop.optimize(alone.one, n_trials=6 + 3 * (N_GENERATIONS - 1))
    batched.optimize(
        batches,
        together.batch,
        n_generations=N_GENERATIONS,
        checkpoints=together.checkpoints,
        max_batch=max_batch,
        device=data[0].device,
    )
    check_lineage(batches.trials, RULES)
    for one, other in zip(loop.trials, batches.trials, strict=True):
        assert (one.params, lineage_of(one)) == (other.params, lineage_of(other))
        assert one.value == pytest.approx(other.value, abs=TOLERANCE)
        check_equal(alone.checkpoints.load(one), together.checkpoints.load(other))
    ages = {together.checkpoints.load(trial)["epoch"] for trial in batches.trials}
    assert ages == set(range(1, N_GENERATIONS + 1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: EPBTSampler(6, n_elites=3, seed=0),
        lambda: EPBTSampler(6, n_elites=3, train_elites=True, fitness_smoothing=0.5, seed=0),
        lambda: PBTSampler(6, seed=0),
    ],
    ids=["EPBT", "trained elites", "PBT"],
)
def test_a_study_goes_from_batches_to_a_loop_and_back(
    data: tuple[Tensor, Tensor], tmp_path: Path, make: Callable[[], EPBTSampler | PBTSampler]
) -> None:
    loop, mixed = make_study(sampler=make()), make_study(sampler=make())
    n_trials = make().n_trials(N_GENERATIONS)
    alone = Objectives(data, tmp_path / "alone", SGD())
    both = Objectives(data, tmp_path / "both", SGD())
    loop.optimize(alone.one, n_trials=n_trials)
    options: Any = {"checkpoints": both.checkpoints, "device": data[0].device}
    batched.optimize(mixed, both.batch, n_generations=2, **options)
    mixed.optimize(both.one, n_trials=2)
    batched.optimize(mixed, both.batch, n_generations=N_GENERATIONS, **options)
    assert len(mixed.trials) == n_trials
    for one, other in zip(loop.trials, mixed.trials, strict=True):
        assert (one.params, lineage_of(one)) == (other.params, lineage_of(other))
        check_equal(alone.checkpoints.load(one), both.checkpoints.load(other))


class Diverging(SGD):
    """The same, but member 2 takes steps that no number can hold, if it is told to."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def batch(self, model: batched.Stack, generation: Generation) -> Any:
        optimizer = super().batch(model, generation)
        (group,) = optimizer.param_groups
        group["lr"] = group["lr"].clone()
        group["lr"][2] *= self.factor
        return optimizer


def test_a_member_that_diverges_fails_alone_and_the_others_are_bit_equal(
    data: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    studies, runs = [make_study(), make_study()], []
    for study, factor in zip(studies, (1.0, 1e300), strict=True):
        runs.append(Objectives(data, tmp_path / str(factor), Diverging(factor)))
        batched.optimize(
            study,
            runs[-1].batch,
            n_generations=1,
            checkpoints=runs[-1].checkpoints,
            device=data[0].device,
        )
    assert [t.number for t in studies[1].trials if t.state == TrialState.FAIL] == [2]
    for one, other in zip(studies[0].trials, studies[1].trials, strict=True):
        if one.number != 2:
            states = [run.checkpoints.load(t) for run, t in zip(runs, (one, other), strict=True)]
            for key, value in states[0]["model"].items():
                assert torch.equal(value, states[1]["model"][key])
