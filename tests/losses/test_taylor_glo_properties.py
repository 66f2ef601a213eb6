"""Laws of TaylorGLO for all θ, outputs and targets, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from torch import Tensor

from epbt_optuna.losses import TaylorGLOLoss, cross_entropy_like, is_trainable, taylor_glo_loss


def tensors(*shape: int, low: float, high: float) -> st.SearchStrategy[Tensor]:
    size = math.prod(shape)
    return st.lists(st.floats(low, high), min_size=size, max_size=size).map(
        lambda numbers: torch.tensor(numbers, dtype=torch.float64).reshape(shape)
    )


thetas = tensors(8, low=-10, high=10)


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Logits of up to three samples and five classes, and a class index for each sample."""
    n_samples, n_classes = draw(st.integers(1, 3)), draw(st.integers(2, 5))
    classes = st.integers(0, n_classes - 1)
    return draw(tensors(n_samples, n_classes, low=-5, high=5)), torch.tensor(
        draw(st.lists(classes, min_size=n_samples, max_size=n_samples))
    )


@st.composite
def soft_batches(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Logits as in `batches`, and a probability for each of their classes."""
    logits, _ = draw(batches())
    weights = draw(tensors(*logits.shape, low=0.01, high=1))
    return logits, weights / weights.sum(1, keepdim=True)


def equation_1(logits: Tensor, x: Tensor, theta: Tensor) -> Tensor:
    """The paper's equation (1), term by term, for each sample."""
    losses = []
    for z_sample, x_sample in zip(logits, x, strict=True):
        y_sample = torch.exp(z_sample) / torch.exp(z_sample).sum()
        total = torch.zeros((), dtype=torch.float64)
        for x_i, y_i in zip(x_sample, y_sample, strict=True):
            total = total + theta[2] * (y_i - theta[1])
            total = total + 1 / 2 * theta[3] * (y_i - theta[1]) ** 2
            total = total + 1 / 6 * theta[4] * (y_i - theta[1]) ** 3
            total = total + theta[5] * (x_i - theta[0]) * (y_i - theta[1])
            total = total + 1 / 2 * theta[6] * (x_i - theta[0]) * (y_i - theta[1]) ** 2
            total = total + 1 / 2 * theta[7] * (x_i - theta[0]) ** 2 * (y_i - theta[1])
        losses.append(-1 / len(y_sample) * total)
    return torch.stack(losses)


def one_hot(target: Tensor, n_classes: int) -> Tensor:
    return torch.eye(n_classes, dtype=torch.float64)[target]


def gradient(logits: Tensor, target: Tensor, theta: Tensor, *, normalize: bool = False) -> Tensor:
    """The gradient of the summed loss in the logits."""
    logits = logits.clone().requires_grad_()
    loss = taylor_glo_loss(logits, target, theta, reduction="sum", normalize=normalize)
    return torch.autograd.grad(loss, logits)[0]


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


def check_values_and_gradients(
    actual: Tensor, expected: Tensor, inputs: tuple[Tensor, ...]
) -> None:
    close(actual, expected)
    weights = torch.arange(1.0, len(actual) + 1, dtype=torch.float64)
    slopes = torch.autograd.grad(actual, inputs, weights)
    for slope, expected_slope in zip(
        slopes, torch.autograd.grad(expected, inputs, weights), strict=True
    ):
        close(slope, expected_slope)


@given(batches(), thetas)
def test_for_class_indices_the_loss_and_its_gradients_are_those_of_equation_1(
    batch: tuple[Tensor, Tensor], theta: Tensor
) -> None:
    logits, target = batch
    inputs = logits.requires_grad_(), theta.requires_grad_()
    actual = taylor_glo_loss(logits, target, theta, reduction="none")
    check_values_and_gradients(
        actual, equation_1(logits, one_hot(target, logits.shape[1]), theta), inputs
    )


@given(soft_batches(), thetas)
def test_for_class_probabilities_the_loss_and_its_gradients_are_those_of_equation_1(
    batch: tuple[Tensor, Tensor], theta: Tensor
) -> None:
    logits, target = batch
    inputs = logits.requires_grad_(), target.requires_grad_(), theta.requires_grad_()
    actual = taylor_glo_loss(logits, target, theta, reduction="none")
    check_values_and_gradients(actual, equation_1(logits, target, theta), inputs)


@given(batches(), thetas, st.floats(-10, 10))
def test_theta_2_has_no_effect_on_the_gradient(
    batch: tuple[Tensor, Tensor], theta: Tensor, theta_2: float
) -> None:
    other = theta.clone()
    other[2] = theta_2
    assert torch.equal(gradient(*batch, theta), gradient(*batch, other))


def four_numbers(theta: Tensor) -> tuple[float, float, float, float]:
    """a, c_h, c_hh and c_hy, as the docstring of `taylor_glo_loss` names them."""
    t0, t1, _, t3, t4, t5, t6, t7 = theta.tolist()
    return t5 - t1 * t6 + t7 * (0.5 - t0), t3 - t4 * t1 - t6 * t0, t4 / 2, t6


@given(batches(), thetas, thetas)
def test_the_gradient_depends_on_four_numbers_only(
    batch: tuple[Tensor, Tensor], theta: Tensor, other: Tensor
) -> None:
    a, c_h, c_hh, c_hy = four_numbers(theta)
    o0, o1, _, _, _, _, _, o7 = other
    other[4], other[6] = 2 * c_hh, c_hy
    other[3] = c_h + 2 * c_hh * o1 + c_hy * o0
    other[5] = a + o1 * c_hy - o7 * (0.5 - o0)
    close(gradient(*batch, other), gradient(*batch, theta))


@given(thetas, st.integers(2, 20), st.data())
def test_a_step_from_uniform_output_makes_the_true_class_likelier_if_and_only_if_trainable(
    theta: Tensor, n_classes: int, data: st.DataObject
) -> None:
    a, _, _, c_hy = four_numbers(theta)
    assume(abs(a + c_hy / n_classes) > 1e-6)
    target = torch.tensor([data.draw(st.integers(0, n_classes - 1))])
    uniform = torch.zeros(1, n_classes, dtype=torch.float64)
    stepped = uniform - 0.01 * gradient(uniform, target, theta)
    gain = stepped.softmax(1)[0, target] - 1 / n_classes
    assert (gain.item() > 0) == is_trainable(theta, n_classes)


@given(thetas, st.integers(2, 20))
@example(torch.tensor([0, 0, 0, 0, 0, 1.0, 0, 0], dtype=torch.float64), 10)
def test_normalized_the_gradient_at_uniform_output_is_cross_entropys_up_to_its_sign(
    theta: Tensor, n_classes: int
) -> None:
    a, _, _, c_hy = numbers = four_numbers(theta)
    slope = a + c_hy / n_classes
    assume(abs(slope) > max(0.0101 * sum(map(abs, numbers)), 0.00101))
    uniform = torch.zeros(n_classes, n_classes, dtype=torch.float64, requires_grad=True)
    target = torch.arange(n_classes)
    cross_entropy = torch.nn.functional.cross_entropy(uniform, target, reduction="sum")
    (expected,) = torch.autograd.grad(cross_entropy, uniform)
    actual = gradient(uniform.detach(), target, theta, normalize=True)
    close(actual, math.copysign(1, slope) * expected)


@given(batches(), thetas)
@example((torch.zeros(1, 2), torch.tensor([0])), torch.zeros(8))
@example((torch.tensor([[3.0, 0]]), torch.tensor([0])), torch.tensor([0.5, 0, 0, 9, 9, 0, 0, 9]))
def test_normalized_no_gradient_in_a_logit_exceeds_25_n(
    batch: tuple[Tensor, Tensor], theta: Tensor
) -> None:
    slopes = gradient(*batch, theta, normalize=True)
    assert slopes.abs().max() <= 25 * slopes.shape[1] * (1 + 1e-6)


@given(batches(), thetas, st.floats(0.01, 100))
def test_normalized_the_loss_does_not_change_when_theta_2_to_7_are_scaled(
    batch: tuple[Tensor, Tensor], theta: Tensor, factor: float
) -> None:
    assume(sum(map(abs, four_numbers(theta))) * min(1, factor) > 0.2)
    scaled = torch.cat([theta[:2], factor * theta[2:]])
    actual = gradient(*batch, scaled, normalize=True)
    torch.testing.assert_close(
        actual, gradient(*batch, theta, normalize=True), rtol=1e-6, atol=1e-9
    )


@given(st.integers(2, 1000), st.floats(1e-3, 1e3), st.data())
def test_the_cross_entropy_like_loss_never_lowers_the_logit_of_the_true_class(
    n_classes: int, bound: float, data: st.DataObject
) -> None:
    theta = cross_entropy_like(n_classes, bound=bound)
    assert len(theta) == 8
    assert max(map(abs, theta)) <= bound
    assert is_trainable(theta, n_classes)
    seed, spread = data.draw(st.integers(0, 2**32)), data.draw(st.floats(0.1, 20))
    logits = torch.randn(
        1, n_classes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    slopes = gradient(spread * logits, torch.tensor([0]), torch.tensor(theta, dtype=torch.float64))
    assert slopes[0, 0] <= 1e-9


@given(st.lists(st.floats(-10, 10), min_size=8, max_size=8), st.sampled_from(["theta_", "loss."]))
def test_theta_survives_the_way_to_params_and_back(theta: list[float], prefix: str) -> None:
    params = TaylorGLOLoss.to_params(theta, prefix=prefix)
    assert list(params) == [f"{prefix}{i}" for i in range(8)]
    loss = TaylorGLOLoss.from_params({"lr": 0.1, **params}, prefix=prefix)
    assert loss.theta.tolist() == pytest.approx(theta)
    assert list(params.values()) == theta
