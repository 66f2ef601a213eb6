"""The fast path, θ as numbers and class indices: what equation (1) gives, and nothing forgotten."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.func import functional_call, grad, jacrev, vmap

from epbt_optuna.losses import TaylorGLOLoss, fused, taylor_glo_loss

THETA = (0.5, -1.0, 2.0, -3.0, 4.0, 5.0, -6.0, 7.0)
OTHER = (-2.0, 3.0, 1.0, 0.5, -4.0, 6.0, 2.0, -5.0)

numbers = st.tuples(*[st.floats(-10, 10)] * 8)


def random_batch(*shape: int, dim: int = 1, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(shape, dtype=torch.float64, generator=generator)
    samples = [size for i, size in enumerate(shape) if i != dim]
    return logits, torch.randint(shape[dim], samples, generator=generator)


def equation_1(logits: Tensor, target: Tensor, theta: tuple[float, ...], dim: int) -> Tensor:
    """The paper's equation (1), term by term, for each sample."""
    n_classes = logits.shape[dim]
    x = torch.nn.functional.one_hot(target, n_classes).movedim(-1, dim).double()
    u, w = logits.softmax(dim) - theta[1], x - theta[0]
    terms = theta[2] * u + theta[3] * u**2 / 2 + theta[4] * u**3 / 6
    terms = terms + theta[5] * w * u + theta[6] * w * u**2 / 2 + theta[7] * w**2 * u / 2
    return -terms.sum(dim) / n_classes


def transcription(
    logits: Tensor,
    target: Tensor,
    theta: tuple[float, ...],
    dim: int,
    *,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
) -> Tensor:
    kept = target != ignore_index
    label = target.where(kept, torch.tensor(0))
    weights = (torch.ones(logits.shape[dim]) if weight is None else weight)[label] * kept
    losses = equation_1(logits, label, theta, dim) * weights
    if reduction == "none":
        return losses
    return losses.sum() / (weights.sum() if reduction == "mean" else 1)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Logits with up to seventeen classes, class indices and options."""
    n_classes = draw(st.integers(2, 17))
    shape = draw(st.sampled_from([(n_classes,), (3, n_classes), (2, n_classes, 3)]))
    logits, target = random_batch(
        *shape, dim=min(1, len(shape) - 1), seed=draw(st.integers(0, 2**32))
    )
    options: dict[str, Any] = {
        "reduction": draw(st.sampled_from(["mean", "sum", "none"])),
        "ignore_index": draw(st.sampled_from([-100, 0, 1, 255])),
        "weight": None,
    }
    if draw(st.booleans()):
        options["weight"] = torch.linspace(0.1, 2, n_classes, dtype=torch.float64)
    if draw(st.booleans()) and target.ndim:
        target[0] = options["ignore_index"]
    if (target == options["ignore_index"]).all():  # such a mean is NaN
        options["reduction"] = "sum"
    return logits, target, options


def derivatives(loss: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient in the logits, and a second derivative along another gradient."""
    weights = torch.linspace(1, 2, loss.numel(), dtype=loss.dtype).view(loss.shape)
    (slope,) = torch.autograd.grad(loss, logits, weights, create_graph=True)
    along = torch.linspace(-1, 2, slope.numel(), dtype=slope.dtype).view(slope.shape)
    (bend,) = torch.autograd.grad(slope, logits, along)
    return slope.detach(), bend


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9, equal_nan=True)


@given(cases(), numbers)
def test_value_gradient_and_second_derivative_are_those_of_equation_1(
    case: tuple[Tensor, Tensor, dict[str, Any]], theta: tuple[float, ...]
) -> None:
    logits, target, options = case
    logits.requires_grad_()
    actual = taylor_glo_loss(logits, target, theta, **options)
    expected = transcription(logits, target, theta, min(1, logits.ndim - 1), **options)
    close(actual, expected)
    weights = torch.linspace(1, 2, actual.numel(), dtype=actual.dtype).view(actual.shape)
    (without_graph,) = torch.autograd.grad(actual, logits, weights, retain_graph=True)
    slope, bend = derivatives(actual, logits)
    expected_slope, expected_bend = derivatives(expected, logits)
    close(without_graph, expected_slope)
    close(slope, expected_slope)
    close(bend, expected_bend)


@given(cases(), numbers, st.booleans())
def test_numbers_give_what_the_same_theta_gives_as_a_tensor(
    case: tuple[Tensor, Tensor, dict[str, Any]], theta: tuple[float, ...], normalize: bool
) -> None:
    logits, target, options = case
    logits.requires_grad_()
    actual, expected = (
        taylor_glo_loss(logits, target, kind, normalize=normalize, **options)
        for kind in (theta, torch.tensor(theta, dtype=torch.float64))
    )
    close(actual, expected)
    for ours, theirs in zip(
        derivatives(actual, logits), derivatives(expected, logits), strict=True
    ):
        close(ours, theirs)


@pytest.mark.parametrize("shape", [(4,), (5, 4), (5, 4, 2)])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_the_kept_gradient_is_right_and_differentiable_twice(
    shape: tuple[int, ...], reduction: str
) -> None:
    logits, target = random_batch(*shape, dim=min(1, len(shape) - 1))
    loss = partial(taylor_glo_loss, target=target, theta=THETA, reduction=reduction)
    assert torch.autograd.gradcheck(loss, (logits.requires_grad_(),))
    assert torch.autograd.gradgradcheck(loss, (logits,))


def test_a_gradient_may_be_asked_for_twice() -> None:
    logits, target = random_batch(5, 4)
    loss = 3 * taylor_glo_loss(logits.requires_grad_(), target, THETA)
    first, second = (torch.autograd.grad(loss, logits, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
    assert first.abs().max() > 0


@pytest.mark.parametrize("n_classes", [3, 40])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_computed_in_float32_and_their_gradient_rounded_once(
    dtype: torch.dtype, n_classes: int
) -> None:
    logits, target = random_batch(6, n_classes)
    half = logits.to(dtype).requires_grad_()
    whole = half.detach().float().requires_grad_()
    losses = [taylor_glo_loss(z, target, THETA) for z in (half, whole)]
    assert torch.equal(*losses)
    (actual,), (expected,) = (
        torch.autograd.grad(loss, z) for loss, z in zip(losses, (half, whole), strict=True)
    )
    assert torch.equal(actual, expected.to(dtype))


@pytest.mark.parametrize("n_classes", [3, 40])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_sample_that_diverged_spoils_no_other_samples_gradient(
    bad: float, n_classes: int
) -> None:
    logits, target = random_batch(6, n_classes)
    spoilt = logits.clone()
    spoilt[2, 1] = bad
    slopes: list[Tensor] = []
    for z in (logits, spoilt):
        loss = taylor_glo_loss(z.requires_grad_(), target, THETA, reduction="sum")
        slopes += torch.autograd.grad(loss, z)
    others = torch.arange(6) != 2
    assert torch.equal(slopes[0][others], slopes[1][others])
    assert slopes[1][2].isnan().all()


def test_a_row_of_great_logits_does_not_overflow() -> None:
    logits = torch.tensor([[1e4, 0.0, -1e4], [-1e4, -1e4, -1e4 - 1]])
    loss = taylor_glo_loss(logits, torch.tensor([0, 1]), THETA, reduction="none")
    expected = equation_1(logits.double(), torch.tensor([0, 1]), THETA, 1)
    torch.testing.assert_close(loss, expected.float())


def test_without_a_gradient_to_come_none_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    original = fused._losses_and_gradient

    def spy(*arguments: Any) -> tuple[Tensor, Tensor | None]:
        result = original(*arguments)
        asked.append(result[1] is not None)
        return result

    monkeypatch.setattr(fused, "_losses_and_gradient", spy)
    logits, target = random_batch(5, 4)
    for z in (logits, logits.clone().requires_grad_()):
        taylor_glo_loss(z, target, THETA)
        TaylorGLOLoss(THETA)(z, target)
    with torch.no_grad():
        taylor_glo_loss(z, target, THETA)
    assert asked == [False, False, True, True, False]


def test_an_empty_batch_has_no_mean_and_a_sum_of_0() -> None:
    logits, target = torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)
    assert taylor_glo_loss(logits, target, THETA).isnan()
    assert taylor_glo_loss(logits, target, THETA, reduction="sum") == 0


# The module's numbers


def change_in_place(loss: TaylorGLOLoss) -> None:
    loss.theta.copy_(torch.tensor(OTHER))


def assign(loss: TaylorGLOLoss) -> None:
    loss.theta = torch.tensor(OTHER)


def assign_then_move(loss: TaylorGLOLoss) -> None:
    loss.theta = torch.tensor(OTHER)
    loss.to(torch.float64)


@pytest.mark.parametrize("change", [change_in_place, assign, assign_then_move])
def test_the_module_computes_with_the_theta_that_it_has_now(
    change: Callable[[TaylorGLOLoss], None],
) -> None:
    logits, target = random_batch(5, 4)
    loss = TaylorGLOLoss(THETA)
    before = loss(logits, target)
    change(loss)
    assert loss(logits, target) == taylor_glo_loss(logits, target, OTHER) != before
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert twin(logits, target) == loss(logits, target)
        twin.theta.copy_(torch.tensor(THETA))
        assert twin(logits, target) == before


def test_theta_is_read_when_it_changes_and_not_at_each_call() -> None:
    logits, target = random_batch(5, 4)
    loss = TaylorGLOLoss(THETA)
    read = loss._read
    for _ in range(3):
        loss(logits, target)
    assert loss._read is read
    assert read is not None
    assert read[2] == THETA


def test_a_theta_that_was_made_not_finite_is_refused_when_it_is_used() -> None:
    loss = TaylorGLOLoss(THETA)
    loss.theta[3] = math.nan
    with pytest.raises(ValueError, match="`theta` must hold finite numbers but got nan"):
        loss(*random_batch(5, 4))


def test_a_theta_that_requires_a_gradient_gets_one() -> None:
    logits, target = random_batch(5, 4)
    loss = TaylorGLOLoss(THETA).double()
    loss.theta.requires_grad_()
    (slope,) = torch.autograd.grad(loss(logits, target), loss.theta)
    expected = grad(lambda theta: taylor_glo_loss(logits, target, theta))(loss.theta.detach())
    close(slope, expected)
    assert slope.abs().max() > 0


def test_a_theta_put_in_by_functional_call_is_differentiated() -> None:
    logits, target = random_batch(5, 4)
    loss, theta = TaylorGLOLoss(OTHER), torch.tensor(THETA, dtype=torch.float64)

    def of_theta(theta: Tensor) -> Tensor:
        result: Tensor = functional_call(loss, {"theta": theta}, (logits, target))
        return result

    close(grad(of_theta)(theta), grad(lambda t: taylor_glo_loss(logits, target, t))(theta))
    close(of_theta(theta), taylor_glo_loss(logits, target, THETA))


def test_a_module_made_in_inference_mode_works() -> None:
    logits, target = random_batch(5, 4)
    with torch.inference_mode():
        loss = TaylorGLOLoss(THETA)
        inside = loss(logits, target)
    close(inside, taylor_glo_loss(logits, target, THETA))
    close(loss(logits, target), inside)


# Transforms


@pytest.mark.parametrize("in_dims", [(0, 0), (0, None), (None, 0), (1, 0)])
def test_under_vmap_models_with_one_loss_equal_a_loop(in_dims: tuple[int | None, ...]) -> None:
    batch = random_batch(5, 5, 4, dim=2)
    loss = partial(taylor_glo_loss, theta=THETA)
    slope = grad(loss)
    shared = [stack[0] if dim is None else stack for stack, dim in zip(batch, in_dims, strict=True)]
    models = [
        [s if dim is None else s.select(dim, i) for s, dim in zip(shared, in_dims, strict=True)]
        for i in range(5)
    ]
    close(vmap(loss, in_dims)(*shared), torch.stack([loss(*model) for model in models]))
    close(vmap(slope, in_dims)(*shared), torch.stack([slope(*model) for model in models]))


def test_second_derivatives_by_functions_are_those_by_autograd() -> None:
    logits, target = random_batch(2, 4)
    loss = partial(taylor_glo_loss, target=target, theta=THETA)
    close(jacrev(grad(loss))(logits), torch.autograd.functional.hessian(loss, logits))


def test_compiled_as_one_graph_numbers_give_the_same_and_new_ones_no_new_graph() -> None:
    torch.compiler.reset()
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    logits, target = random_batch(5, 4)
    model = torch.nn.ModuleDict({"loss": TaylorGLOLoss(THETA)})
    compiled = torch.compile(model["loss"], fullgraph=True, backend=backend)
    for theta in (THETA, OTHER, tuple(reversed(THETA))):
        model["loss"].theta = torch.tensor(theta)
        close(compiled(logits, target), taylor_glo_loss(logits, target, theta))
    assert len(graphs) == 1
    torch.compiler.reset()
