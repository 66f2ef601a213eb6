"""Robust losses are their papers' formulas, said again in NumPy, and have their known limits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch

from examples.paper.arms import ROBUST
from examples.paper.configs import DIGITS
from examples.paper.data import make_split
from examples.paper.kinds import SingleNetwork
from examples.paper.losses import (
    EARLY_LEARNING,
    ROBUST_LOSSES,
    EarlyLearningRegularization,
    epsilon_softmax_and_mae,
    make_loss,
    nce_and_agce,
    nce_and_rce,
    normalized_cross_entropy,
    reverse_cross_entropy,
    symmetric_cross_entropy,
)
from examples.paper.outcome import Point
from examples.paper.single import train_from_scratch
from examples.paper.stopwatch import Stopwatch
from examples.paper.training import Workbench

Array: TypeAlias = Any  # a batch of rows, or a value for each
N = 10


def softmax(z: Array) -> Array:
    return np.exp(z) / np.exp(z).sum(1, keepdims=True)


def one_hot(y: Array) -> Array:
    return np.eye(N)[y]


def ce(p: Array, t: Array) -> Array:
    return -(t * np.log(p)).sum(1)


def rce(p: Array, t: Array) -> Array:
    return -(p * np.log(np.clip(t, 1e-4, 1))).sum(1)


def nce(p: Array, t: Array) -> Array:
    return ce(p, t) / sum(ce(p, np.tile(one_hot(np.array([k])), (len(p), 1))) for k in range(N))


def agce(p: Array, t: Array) -> Array:
    return ((6 + 1) ** 1.5 - (6 + (t * p).sum(1)) ** 1.5) / 1.5


def epsilon(p: Array, t: Array) -> Array:
    moved = (p + 1e5 * one_hot(p.argmax(1))) / (1 + 1e5)
    return 0.01 * ce(moved, t) + 5 * np.abs(t - p).sum(1)


FORMULAS: dict[str, Callable[[Array, Array], Array]] = {
    "symmetric cross-entropy": lambda p, t: 0.1 * ce(p, t) + rce(p, t),
    "NCE and RCE": lambda p, t: nce(p, t) + rce(p, t),
    "NCE and AGCE": lambda p, t: nce(p, t) + 4 * agce(p, t),
    "ε-softmax and MAE": epsilon,
}


@pytest.mark.parametrize("name", ROBUST_LOSSES)
def test_a_loss_is_its_papers_formula(name: str) -> None:
    rng = np.random.default_rng(0)
    z, y = rng.normal(0, 3, (200, N)), rng.integers(0, N, 200)
    expected = FORMULAS[name](softmax(z), one_hot(y)).mean()
    loss = ROBUST_LOSSES[name](torch.from_numpy(z), torch.from_numpy(y))
    assert float(loss) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", ROBUST_LOSSES)
def test_gradients_are_the_losses_own_and_finite_where_the_network_is_sure(name: str) -> None:
    rng = np.random.default_rng(1)
    y = torch.from_numpy(rng.integers(0, N, 6))
    z = torch.from_numpy(rng.normal(0, 2, (6, N))).requires_grad_()
    assert torch.autograd.gradcheck(lambda logits: ROBUST_LOSSES[name](logits, y), z)
    sure = (200 * torch.eye(N)[:6]).requires_grad_()  # of the right class, and of wrong ones
    ROBUST_LOSSES[name](sure, y).backward()
    assert sure.grad is not None
    assert sure.grad.isfinite().all()


def test_losses_have_their_known_limits() -> None:
    y = torch.arange(N)
    right, wrong = 100.0 * torch.eye(N), 100.0 * torch.eye(N).roll(1, 1)
    assert float(reverse_cross_entropy(right, y)) == pytest.approx(0, abs=1e-6)
    assert float(reverse_cross_entropy(wrong, y)) == pytest.approx(4 * math.log(10))
    assert float(symmetric_cross_entropy(wrong, y)) == pytest.approx(10 + 4 * math.log(10))
    assert float(normalized_cross_entropy(torch.zeros(N, N), y)) == pytest.approx(1 / N)
    assert float(nce_and_rce(right, y)) == pytest.approx(0, abs=1e-6)
    assert float(nce_and_agce(right, y)) == pytest.approx(0, abs=1e-4)
    assert float(epsilon_softmax_and_mae(right, y)) == pytest.approx(0, abs=1e-6)
    at_most = 0.01 * (100 + math.log1p(1e5)) + 10  # bounded, but for the logarithm
    assert float(epsilon_softmax_and_mae(wrong, y)) == pytest.approx(at_most, rel=1e-4)


@pytest.mark.parametrize(
    ("loss", "total"),
    [(normalized_cross_entropy, 1.0), (reverse_cross_entropy, 9 * 4 * math.log(10))],
)
def test_of_symmetric_losses_the_sum_over_all_labels_is_the_same_everywhere(
    loss: Any, total: float
) -> None:
    z = 4 * torch.randn(5, N, generator=torch.Generator().manual_seed(0))
    for row in z:
        found = sum(float(loss(row[None], torch.tensor([label]))) for label in range(N))
        assert found == pytest.approx(total, rel=1e-5)


def test_early_learning_regularization_is_its_papers_formula_step_by_step() -> None:
    rng = np.random.default_rng(2)
    loss_fn = EarlyLearningRegularization(8, N).double()
    targets = np.zeros((8, N))
    for _ in range(4):
        samples = rng.permutation(8)[:5]
        z, y = rng.normal(0, 3, (5, N)), rng.integers(0, N, 5)
        p = np.clip(softmax(z), 1e-4, 1 - 1e-4)
        targets[samples] = 0.7 * targets[samples] + 0.3 * p / p.sum(1, keepdims=True)
        penalty = np.log(1 - (targets[samples] * p).sum(1))
        expected = (ce(softmax(z), one_hot(y)) + 3 * penalty).mean()
        loss = loss_fn(*map(torch.from_numpy, (z, y, samples)))
        assert float(loss) == pytest.approx(expected, rel=1e-10)
        assert np.allclose(loss_fn.targets.numpy(), targets, rtol=1e-12)


def test_the_targets_get_no_gradient_and_pull_the_network_to_what_it_said() -> None:
    loss_fn = EarlyLearningRegularization(1, 2)
    logits = torch.tensor([[2.0, 0.0]], requires_grad=True)
    sample, wrong = torch.tensor([0]), torch.tensor([1])
    for _ in range(20):
        loss_fn(logits, wrong, sample)
    plain = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, wrong), logits)[0]
    pulled = torch.autograd.grad(loss_fn(logits, wrong, sample), logits)[0]
    assert not loss_fn.targets.requires_grad
    assert pulled[0, 0] < plain[0, 0]  # less is learnt of the wrong label


def test_every_arm_names_a_loss_that_there_is() -> None:
    for arm in ROBUST.values():
        assert isinstance(arm, SingleNetwork)
        make_loss(arm.loss, 3, N)
    assert {arm.loss for arm in ROBUST.values() if isinstance(arm, SingleNetwork)} == {
        *ROBUST_LOSSES,
        EARLY_LEARNING,
    }


class CutOffError(Exception):
    """Ends a training."""


def test_training_that_is_cut_off_goes_on_with_the_targets_that_it_had(tmp_path: Path) -> None:
    split = make_split(DIGITS, 0, Path())
    few = replace(split, train=(split.train[0][:64], split.train[1][:64]))
    config = replace(DIGITS, n_generations=4, epochs_per_generation=1)

    def curve(file: Path, stop_after: int | None = None) -> list[Point]:
        trained = 0.0

        def progress(n_epochs: float) -> None:
            nonlocal trained
            trained += n_epochs
            if trained == stop_after:
                raise CutOffError

        bench = Workbench(config, 0, few, Stopwatch())
        return train_from_scratch(bench, make_loss(EARLY_LEARNING, 64, N), file, progress)

    whole, cut = tmp_path / "whole.pt", tmp_path / "cut.pt"
    expected = curve(whole)
    with pytest.raises(CutOffError):
        curve(cut, stop_after=2)
    assert curve(cut) == expected
    targets = [torch.load(file, weights_only=True)["loss"]["targets"] for file in (whole, cut)]
    assert torch.equal(*targets)
    assert targets[0].sum() > 0
