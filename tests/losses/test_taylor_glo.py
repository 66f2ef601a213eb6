"""TaylorGLO as a user meets it: shapes, options, mistakes, the module, and what θ to start from."""

from __future__ import annotations

import copy
import math
import pickle
from functools import partial
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from epbt_optuna.losses import TaylorGLOLoss, cross_entropy_like, is_trainable, taylor_glo_loss

THETA = (0.5, -1.0, 2.0, -3.0, 4.0, 5.0, -6.0, 7.0)


def random_logits(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


# Values and shapes


def test_the_loss_of_one_sample_is_the_value_worked_out_by_hand() -> None:
    # y = (1/2, 1/2), x = (1, 0), θ0 = θ1 = 1: u = -1/2 for both, w = (0, -1), and with every
    # other θ 12 the bracket is -6 + 3/2 - 1/4 = -19/4, and 6 - 3/2 - 3 = 3/2 more where w = -1.
    loss = taylor_glo_loss(torch.zeros(2), torch.tensor(0), [1, 1, 12, 12, 12, 12, 12, 12])
    assert loss.item() == pytest.approx(-(-19 / 4 - 19 / 4 + 3 / 2) / 2)


def test_one_hot_probabilities_give_the_loss_of_class_indices() -> None:
    logits, target = random_logits(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    expected = taylor_glo_loss(logits, target, THETA)
    actual = taylor_glo_loss(logits, torch.eye(4)[target], THETA)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_class_indices_may_be_of_any_integer_dtype(dtype: torch.dtype) -> None:
    logits, target = random_logits(3, 4), torch.tensor([0, 3, 1])
    actual = taylor_glo_loss(logits, target.to(dtype), THETA)
    assert torch.equal(actual, taylor_glo_loss(logits, target, THETA))


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("soft", [False, True])
def test_classes_are_in_dimension_1_of_an_image_and_dimension_0_of_a_single_sample(
    soft: bool, normalize: bool
) -> None:
    logits = random_logits(2, 3, 4, 5)
    target = random_logits(2, 3, 4, 5).softmax(1) if soft else torch.ones(2, 4, 5, dtype=torch.long)
    loss = partial(taylor_glo_loss, theta=THETA, normalize=normalize)
    losses = loss(logits, target, reduction="none")
    assert losses.shape == (2, 4, 5)
    pixel = loss(logits[1, :, 2, 3], target[1, :, 2, 3] if soft else target[1, 2, 3])
    torch.testing.assert_close(losses[1, 2, 3], pixel)


def test_mean_and_sum_reduce_the_losses_of_all_samples() -> None:
    logits, target = random_logits(2, 3, 4), torch.ones(2, 4, dtype=torch.long)
    losses = taylor_glo_loss(logits, target, THETA, reduction="none")
    torch.testing.assert_close(taylor_glo_loss(logits, target, THETA), losses.mean())
    torch.testing.assert_close(
        taylor_glo_loss(logits, target, THETA, reduction="sum"), losses.sum()
    )


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("soft", [False, True])
def test_the_closed_form_is_the_first_derivative_and_has_a_right_derivative_of_its_own(
    soft: bool, normalize: bool
) -> None:
    logits = random_logits(3, 4).requires_grad_()
    theta = torch.tensor(THETA, dtype=torch.float64, requires_grad=True)
    target = random_logits(3, 4).exp().requires_grad_() if soft else torch.tensor([0, 3, 1])
    loss = partial(taylor_glo_loss, reduction="none", normalize=normalize)
    assert torch.autograd.gradcheck(loss, (logits, target, theta))
    assert torch.autograd.gradgradcheck(loss, (logits, target, theta))


def test_only_the_gradients_that_are_asked_for_are_computed() -> None:
    theta = torch.tensor(THETA, requires_grad=True)
    loss = taylor_glo_loss(random_logits(3, 4), torch.tensor([0, 3, 1]), theta)
    (slope,) = torch.autograd.grad(loss, theta)
    assert slope.dtype == theta.dtype
    assert slope.abs().min() > 0


# Mistakes


@pytest.mark.parametrize(
    ("theta", "error", "message"),
    [
        (THETA[:7], ValueError, "`theta` must hold eight numbers but got 7."),
        (torch.ones(2, 8), ValueError, r"`theta` must hold eight numbers but got shape \(2, 8\)."),
        ((*THETA[:7], math.nan), ValueError, "`theta` must hold finite numbers but got nan."),
        (torch.full((8,), math.inf), ValueError, "`theta` must hold finite numbers but got inf."),
        (1.0, TypeError, "`theta` must hold eight numbers but got 1.0."),
        ({"theta_0": 1.0}, TypeError, "`theta` must hold eight numbers but got {'theta_0': 1.0}."),
        (torch.ones(8, dtype=torch.bool), TypeError, "real numbers but got torch.bool."),
        (torch.ones(8, device="meta"), ValueError, "on the device of `logits`, cpu, but got meta."),
    ],
)
def test_a_theta_that_is_not_eight_finite_numbers_is_refused(
    theta: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        taylor_glo_loss(torch.zeros(1, 2), torch.tensor([0]), theta)


@pytest.mark.parametrize(
    ("logits", "error", "message"),
    [
        ([[0.0, 1.0]], TypeError, "`logits` must be a tensor but got list."),
        (torch.ones(1, 2, dtype=torch.long), TypeError, "floating point but got torch.int64."),
        (torch.tensor(1.0), ValueError, "`logits` must have a class dimension but got a 0-d"),
        (torch.ones(16, 1), ValueError, r"must have two or more classes.*got shape \(16, 1\)."),
        (torch.ones(16, 0), ValueError, r"must have two or more classes.*got shape \(16, 0\)."),
        (torch.ones(1), ValueError, r"must have two or more classes.*got shape \(1,\)."),
        (torch.ones(2, 1, 3, 3), ValueError, r"two or more .*got shape \(2, 1, 3, 3\)."),
    ],
)
def test_logits_without_classes_or_of_another_kind_are_refused(
    logits: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        taylor_glo_loss(logits, torch.tensor([0]), THETA)


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ([0, 1], TypeError, "`target` must be a tensor but got list."),
        (torch.tensor([True, False]), TypeError, "integers.*floating point.*but got torch.bool."),
        (torch.zeros(2, 1, dtype=torch.long), ValueError, r"must have shape \(2,\).*got \(2, 1\)."),
        (torch.zeros(2, 4), ValueError, r"must have shape \(2, 3\).*probabilities.*got \(2, 4\)."),
        (torch.zeros(2, 3, device="meta"), ValueError, "`target` must be on the device of"),
        (torch.tensor([0, 3]), ValueError, "must be from 0 to 2, or `ignore_index`, but got 3."),
        (torch.tensor([0, -1]), ValueError, "must be from 0 to 2, or `ignore_index`, but got -1."),
        (torch.tensor([0, -99]), ValueError, "must be from 0 to 2, or .*, but got -99."),
        (torch.tensor([[0.5, 0.5, -0.1]] * 2), ValueError, "not negative but got -0.1"),
        (torch.tensor([[0.5, 0.5, math.nan]] * 2), ValueError, "be finite and .* but got nan."),
        (torch.tensor([[0.5, 0.5, math.inf]] * 2), ValueError, "be finite and .* but got inf."),
    ],
)
def test_a_target_that_does_not_fit_the_logits_is_refused(
    target: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        taylor_glo_loss(torch.zeros(2, 3), target, THETA)


def test_an_unknown_reduction_is_refused_by_the_function_and_when_the_module_is_made() -> None:
    message = "`reduction` must be 'mean', 'sum' or 'none' but got 'max'."
    with pytest.raises(ValueError, match=message):
        taylor_glo_loss(torch.zeros(1, 2), torch.tensor([0]), THETA, reduction="max")
    with pytest.raises(ValueError, match=message):
        TaylorGLOLoss(THETA, reduction="max")


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (-math.inf, 10.0, "`low` must be finite but got -inf."),
        (-10.0, math.nan, "`high` must be finite but got nan."),
        (1.0, 1.0, "`low` must be less than `high` but got 1.0 and 1.0."),
    ],
)
def test_a_range_without_values_is_refused(low: float, high: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TaylorGLOLoss.suggest(optuna.create_study().ask(), low, high)


def test_params_without_a_theta_and_too_few_classes_and_a_bound_of_zero_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`params` must hold theta_0, .* lacks \['theta_7'\]."):
        TaylorGLOLoss.from_params({f"theta_{i}": 0.0 for i in range(7)})
    with pytest.raises(ValueError, match=r"`n_classes` must be at least 2 but got 1\."):
        is_trainable(THETA, 1)
    with pytest.raises(ValueError, match=r"`n_classes` must be at least 2 but got 1\."):
        cross_entropy_like(1)
    with pytest.raises(ValueError, match=r"`bound` must be positive but got 0\.0\."):
        cross_entropy_like(3, bound=0.0)


# The module


def test_the_module_computes_what_the_function_computes() -> None:
    logits, target = random_logits(6, 4).float(), torch.tensor([0, 1, 2, 3, 0, 1])
    loss = TaylorGLOLoss(THETA, normalize=True, reduction="sum")
    expected = taylor_glo_loss(logits, target, THETA, reduction="sum", normalize=True)
    assert torch.equal(loss(logits, target), expected)
    assert repr(loss) == (
        "TaylorGLOLoss(theta=(0.5, -1, 2, -3, 4, 5, -6, 7), normalize=True, reduction='sum')"
    )


def test_a_child_that_loads_its_parents_weights_keeps_its_own_loss() -> None:
    parent = nn.ModuleDict({"net": nn.Linear(2, 2), "loss": TaylorGLOLoss(THETA)})
    child = nn.ModuleDict({"net": nn.Linear(2, 2), "loss": TaylorGLOLoss([0.0] * 8)})
    assert set(parent.state_dict()) == {"net.weight", "net.bias"}
    child.load_state_dict(parent.state_dict())
    assert dict(child.named_buffers())["loss.theta"].tolist() == [0.0] * 8


def test_the_module_follows_moves_and_survives_pickling_and_copying() -> None:
    loss = TaylorGLOLoss(THETA, normalize=True)
    assert loss.to(torch.float64).theta.dtype == torch.float64
    assert loss.to("meta").theta.device.type == "meta"
    loss = TaylorGLOLoss(THETA, normalize=True)
    for twin in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss)):
        assert repr(twin) == repr(loss)


def test_the_module_keeps_a_copy_of_a_tensor_of_theta_and_its_dtype() -> None:
    theta = torch.tensor(THETA, dtype=torch.float64, requires_grad=True)
    loss = TaylorGLOLoss(theta)
    with torch.no_grad():
        theta.zero_()
    assert loss.theta.tolist() == list(THETA)
    assert loss.theta.dtype == torch.float64
    assert not loss.theta.requires_grad


def test_an_enqueued_theta_is_the_theta_that_is_suggested() -> None:
    study = optuna.create_study()
    theta = cross_entropy_like(10)
    study.enqueue_trial(TaylorGLOLoss.to_params(theta))
    trial = study.ask()
    loss = TaylorGLOLoss.suggest(trial, normalize=True, reduction="sum")
    assert trial.params == TaylorGLOLoss.to_params(theta)
    assert loss.theta.tolist() == pytest.approx(theta)
    assert (loss.normalize, loss.reduction) == (True, "sum")


def test_theta_is_suggested_in_order_under_its_prefix_and_in_its_range() -> None:
    trial = optuna.create_study().ask()
    loss = TaylorGLOLoss.suggest(trial, -2.0, 3.0, prefix="loss_")
    assert list(trial.params) == [f"loss_{i}" for i in range(8)]
    assert loss.theta.tolist() == pytest.approx(list(trial.params.values()))
    assert set(trial.distributions.values()) == {optuna.distributions.FloatDistribution(-2, 3)}


# What θ to start from


def test_is_trainable_reads_params_among_others_and_survives_pickling_as_a_predicate() -> None:
    feasible = pickle.loads(pickle.dumps(partial(is_trainable, n_classes=10)))
    theta = cross_entropy_like(10)
    assert feasible({"lr": 0.1, **TaylorGLOLoss.to_params(theta)}) is True
    turned = (*theta[:5], *(-number for number in theta[5:]))
    assert feasible({"lr": 0.1, **TaylorGLOLoss.to_params(turned)}) is False
    assert feasible(torch.zeros(8)) is False


def gradients_at_uniform_output(n_losses: int, n_classes: int) -> tuple[Tensor, Tensor]:
    """Random θ in [-10, 10]⁸, and their gradients in units of cross-entropy's."""
    generator = torch.Generator().manual_seed(0)
    thetas = 20 * torch.rand(n_losses, 8, dtype=torch.float64, generator=generator) - 10

    def slope(theta: Tensor) -> Tensor:
        uniform = torch.zeros(n_classes, dtype=torch.float64)
        slopes: Tensor = torch.func.grad(taylor_glo_loss)(uniform, torch.tensor(0), theta)
        return slopes[0]

    return thetas, torch.func.vmap(slope)(thetas) / (1 / n_classes - 1)


def test_half_of_the_papers_search_space_is_not_trainable() -> None:
    thetas, ratios = gradients_at_uniform_output(20_000, 10)
    trainable = [is_trainable(theta, 10) for theta in thetas[:2_000]]
    assert trainable == (ratios[:2_000] > 0).tolist()
    assert (ratios > 0).double().mean().item() == pytest.approx(0.5, abs=0.015)


def test_gradients_at_uniform_output_scatter_over_thirty_times_in_the_papers_search_space() -> None:
    _, ratios = gradients_at_uniform_output(20_000, 10)
    quantiles = torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)
    low, median, high = ratios.abs().quantile(quantiles).tolist()
    assert low == pytest.approx(0.027, abs=0.003)
    assert median == pytest.approx(0.307, abs=0.015)
    assert high == pytest.approx(0.943, abs=0.03)


@pytest.mark.parametrize("n_classes", [2, 10, 22])
def test_the_cross_entropy_like_loss_is_the_weighted_least_squares_fit_to_cross_entropy(
    n_classes: int,
) -> None:
    t = torch.linspace(0.0005, 0.9995, 1000, dtype=torch.float64)
    rest = ((1 - t) / (n_classes - 1)).unsqueeze(1).expand(-1, n_classes - 1)
    logits = torch.cat([t.unsqueeze(1), rest], 1).log().requires_grad_()
    loss = taylor_glo_loss(
        logits,
        torch.zeros(1000, dtype=torch.long),
        cross_entropy_like(n_classes),
        reduction="sum",
    )
    factors = torch.autograd.grad(loss, logits)[0][:, 0] / (t - 1)
    weights = (1 - t).sqrt()
    family = torch.stack([t, t**2], 1)  # all that θ5, θ6, θ7 with any θ0, θ1 reach
    fit = torch.linalg.lstsq(family * weights[:, None], weights[:, None]).solution
    torch.testing.assert_close(factors, (family @ fit)[:, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("n_classes", "least"), [(2, 0.9), (10, 0.75), (100, 0.6)])
def test_the_cross_entropy_like_gradient_points_where_cross_entropys_points(
    n_classes: int, least: float
) -> None:
    logits = random_logits(512, n_classes).requires_grad_()
    target = torch.arange(512) % n_classes
    ours = taylor_glo_loss(logits, target, cross_entropy_like(n_classes))
    theirs = nn.functional.cross_entropy(logits, target)
    a, b = (torch.autograd.grad(loss, logits)[0].flatten() for loss in (ours, theirs))
    assert nn.functional.cosine_similarity(a, b, dim=0) > least


def accuracy_on_digits(loss_fn: nn.Module) -> float:
    """Test accuracy of a small network after 10 epochs, lr 0.1, of 1297 digits."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    x = torch.tensor(images[order] / 16, dtype=torch.float32)
    y = torch.tensor(labels[order], dtype=torch.long)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(10):
        for batch in (torch.randperm(len(x) - 500) + 500).chunk(20):
            optimizer.zero_grad()
            loss_fn(model(x[batch]), y[batch]).backward()
            optimizer.step()
    hits = model(x[:500]).argmax(1) == y[:500]
    return int(hits.sum()) / 500


def test_the_cross_entropy_like_loss_learns_digits_as_cross_entropy_does() -> None:
    expected = accuracy_on_digits(nn.CrossEntropyLoss())
    assert expected > 0.94
    assert accuracy_on_digits(TaylorGLOLoss(cross_entropy_like(10))) > expected - 0.02
