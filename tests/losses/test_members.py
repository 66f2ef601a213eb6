"""A generation's losses at once: θ of shape (P, 8), and each member as if it were alone."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from epbt_optuna._internal.each import Each
from epbt_optuna.losses import TaylorGLOLoss, taylor_glo_loss

N_MEMBERS, N_CLASSES = 3, 4


def thetas(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 20 * torch.rand(N_MEMBERS, 8, dtype=torch.float64, generator=generator) - 10


def outputs(*samples: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = N_MEMBERS, *samples, N_CLASSES
    return 3 * torch.randn(shape, dtype=torch.float64, generator=generator)


def labels(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(N_CLASSES, shape, generator=torch.Generator().manual_seed(seed))


def loop(logits: Tensor, target: Tensor | Each, theta: Tensor, **options: Any) -> Tensor:
    """Each member's loss by itself, with its classes where a single loss has them."""
    losses = []
    for i, (own, its_theta) in enumerate(zip(logits, theta, strict=True)):
        label = target.value[i] if isinstance(target, Each) else target
        if label.is_floating_point():
            label = label.movedim(-1, 1)
        losses.append(taylor_glo_loss(own.movedim(-1, 1), label, its_theta, **options))
    return torch.stack(losses)


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@st.composite
def targets(draw: st.DrawFn, samples: tuple[int, ...]) -> tuple[Tensor | Each, bool]:
    """Labels that members share or have each their own, and whether they are probabilities."""
    own, soft = draw(st.booleans()), draw(st.booleans())
    seed = draw(st.integers(0, 1000))
    values = outputs(*samples, seed=seed).softmax(-1) if soft else labels(N_MEMBERS, *samples)
    return (Each(values) if own else values[0]), soft


@given(st.data(), st.integers(0, 1000), st.booleans())
def test_members_losses_and_derivatives_are_those_of_a_loop(
    data: st.DataObject, seed: int, normalize: bool
) -> None:
    samples = data.draw(st.sampled_from([(5,), (2, 3)]))
    target, soft = data.draw(targets(samples))
    options: dict[str, Any] = {
        "reduction": data.draw(st.sampled_from(["mean", "sum", "none"])),
        "label_smoothing": data.draw(st.sampled_from([0.0, 0.0, 0.3])),
        "ignore_index": -100 if soft else data.draw(st.sampled_from([-100, 1])),
        "normalize": normalize,
    }
    if data.draw(st.booleans()):
        options["weight"] = torch.linspace(0.5, 2, N_CLASSES, dtype=torch.float64)
    logits, theta = outputs(*samples, seed=seed).requires_grad_(), thetas(seed)
    actual = taylor_glo_loss(logits, target, theta, **options)
    expected = loop(logits, target, theta, **options)
    assert actual.shape == ((N_MEMBERS, *samples) if options["reduction"] == "none" else (3,))
    close(actual, expected)
    along = outputs(*samples, seed=seed + 1)
    weights = torch.linspace(1, 2, actual.numel(), dtype=torch.float64).view(actual.shape)
    slopes: list[Tensor] = []
    bends: list[Tensor] = []
    for loss in (actual, expected):
        slopes += torch.autograd.grad(loss, logits, weights, create_graph=True)
        bends += torch.autograd.grad(slopes[-1], logits, along)
    close(*slopes)
    close(*bends)


@pytest.mark.parametrize("target", [labels(5), outputs(5).softmax(-1)[0]])
def test_members_thetas_have_gradients_where_they_require_them(target: Tensor) -> None:
    logits, theta = outputs(5), thetas().requires_grad_()
    actual = taylor_glo_loss(logits, target, theta, normalize=True)
    expected = loop(logits, target, theta, normalize=True)
    slopes = [torch.autograd.grad(loss.sum(), theta)[0] for loss in (actual, expected)]
    close(*slopes)
    assert slopes[0].any(1).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("target", [labels(5), Each(labels(3, 5)), outputs(5).softmax(-1)[0]])
def test_a_member_that_diverged_changes_no_bit_of_anothers_loss_or_gradient(
    target: Tensor | Each, reduction: str, bad: float
) -> None:
    spoilt = outputs(5)
    spoilt[1, 2] = bad
    results = []
    for logits in (outputs(5).requires_grad_(), spoilt.requires_grad_()):
        loss = taylor_glo_loss(logits, target, thetas(), reduction=reduction)
        (slope,) = torch.autograd.grad(loss.sum(), logits)
        results.append((loss.detach(), slope))
    for healthy, beside in zip(*results, strict=True):
        assert beside[1].isnan().any()
        for other in (0, 2):
            assert torch.equal(healthy[other], beside[other])


def test_probabilities_in_half_precision_and_logits_give_float32() -> None:
    half = outputs(5).half().requires_grad_()
    loss = taylor_glo_loss(half, labels(5), thetas())
    assert loss.dtype == torch.float32
    assert torch.equal(loss, taylor_glo_loss(half.float(), labels(5), thetas()))
    (slope,) = torch.autograd.grad(loss.sum(), half)
    assert slope.dtype == torch.float16


def test_members_losses_go_through_transforms_and_the_compiler() -> None:
    logits, target, theta = outputs(2, 5), labels(5), thetas()

    def loss(logits: Tensor) -> Tensor:
        return taylor_glo_loss(logits, target, theta)

    stack = logits.movedim(1, 0)  # two lots of members
    close(vmap(loss)(stack), torch.stack([loss(one) for one in stack]))
    slopes = vmap(grad(lambda one: loss(one).sum()))(stack)
    one = stack[1].clone().requires_grad_()
    close(slopes[1], torch.autograd.grad(loss(one).sum(), one)[0])
    torch.compiler.reset()
    compiled = torch.compile(TaylorGLOLoss(theta), fullgraph=True, backend="aot_eager")
    actual = compiled(one, target)
    close(actual, loss(one))
    close(torch.autograd.grad(actual.sum(), one)[0], slopes[1])
    torch.compiler.reset()


def test_members_losses_are_computed_with_the_thetas_that_there_are_now() -> None:
    logits, theta = outputs(5), thetas()
    for change in (thetas(), thetas(1)):
        theta.copy_(change)
        for size in (4, 5, 4):
            with torch.inference_mode():
                inside = taylor_glo_loss(logits[:, :size], labels(size), theta)
            close(inside, loop(logits[:, :size], labels(size), change))
            one = logits[:, :size].clone().requires_grad_()
            loss = taylor_glo_loss(one, labels(size), theta)
            (slope,) = torch.autograd.grad(loss.sum(), one, create_graph=True)
            assert slope.requires_grad


# The module


class Generation:
    """As much of a generation as `suggest` needs: a number for each member."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float, float]] = []

    def suggest_float(self, name: str, low: float, high: float) -> Tensor:
        self.asked.append((name, low, high))
        return torch.arange(N_MEMBERS) + 10.0 * len(self.asked)


def test_a_generation_suggests_a_theta_for_each_member() -> None:
    generation = Generation()
    loss = TaylorGLOLoss.suggest(generation, -2, 3, prefix="loss_", reduction="sum")
    assert generation.asked == [(f"loss_{i}", -2, 3) for i in range(8)]
    assert loss.theta.shape == (N_MEMBERS, 8)
    assert loss.theta[1].tolist() == [11.0, 21.0, 31.0, 41.0, 51.0, 61.0, 71.0, 81.0]
    assert loss.reduction == "sum"
    assert loss(outputs(5), labels(5)).shape == (N_MEMBERS,)


def test_the_module_computes_what_the_function_computes_and_keeps_its_options() -> None:
    weight = torch.ones(N_CLASSES, dtype=torch.float64) / 3
    loss = TaylorGLOLoss(thetas(), weight=weight, ignore_index=1, normalize=True)
    logits, target = outputs(5), Each(labels(3, 5))
    expected = taylor_glo_loss(
        logits, target, thetas(), weight=weight, ignore_index=1, normalize=True
    )
    assert torch.equal(loss(logits, target), expected)
    assert repr(TaylorGLOLoss(thetas())) == (
        "TaylorGLOLoss(theta=<3 members'>, normalize=False, reduction='mean')"
    )
    for twin in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss)):
        assert torch.equal(twin(logits, target), expected)
    replaced = functional_call(loss, {"theta": thetas(1)}, (logits, target))
    assert not torch.equal(replaced, expected)
    loss.theta = thetas(1)
    assert torch.equal(loss(logits, target), replaced)


def test_members_thetas_follow_moves_and_stay_whole() -> None:
    loss = TaylorGLOLoss(thetas().float())
    nn.Sequential(loss).half()
    assert loss.theta.dtype == torch.float32
    assert torch.equal(loss.theta, thetas().float())
    assert loss.to(torch.float64).theta.dtype == torch.float64
    assert loss.to("meta").theta.device.type == "meta"
    assert loss.state_dict() == {}


# Mistakes


@pytest.mark.parametrize(
    ("logits", "target", "message"),
    [
        (
            torch.zeros(2, 5, 4),
            labels(5),
            r"shape \(3, 8\): for 3 members' losses, `logits` must have shape \(3, B, ..., C\), "
            r"classes last, but got \(2, 5, 4\)",
        ),
        (torch.zeros(3, 4), labels(3), r"must have shape \(3, B, ..., C\).* but got \(3, 4\)"),
        (torch.zeros(3, 5, 1), labels(5), r"two or more classes.*got shape \(3, 5, 1\)"),
        (
            torch.zeros(3, 5, 4),
            labels(3, 5),
            r"must have shape \(5,\) to hold class indices .* but got \(3, 5\) \(mark what each "
            r"member has of its own: `each\(target\)`\)",
        ),
        (
            torch.zeros(3, 5, 4),
            Each(labels(5)),
            r"must have shape \(3, 5\) .* but got \(5,\) \(one for each of 3 members\)",
        ),
        (
            torch.zeros(3, 5, 4),
            torch.ones(3, 5, 4),
            r"must have shape \(5, 4\) to hold class probabilities .*got \(3, 5, 4\) \(mark",
        ),
        (torch.zeros(3, 5, 4), labels(6), r"got \(6,\) \(shared by all of 3 members\)"),
        (
            torch.zeros(3, 5, 4),
            Each(torch.full((3, 5), 4)),
            "must be from 0 to 3, or `ignore_index`, but got 4",
        ),
    ],
)
def test_members_whose_shapes_do_not_fit_are_refused(
    logits: Tensor, target: Tensor | Each, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        taylor_glo_loss(logits, target, thetas())


def test_labels_for_each_are_refused_by_a_single_loss() -> None:
    with pytest.raises(TypeError, match="`target` must be a tensor but got Each"):
        taylor_glo_loss(outputs(5), Each(labels(3, 5)), thetas()[0])


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        (torch.ones(3, 7), r"must hold eight numbers but got shape \(3, 7\)"),
        (torch.ones(0, 8), r"must hold eight numbers but got shape \(0, 8\)"),
        (torch.ones(2, 3, 8), r"must hold eight numbers but got shape \(2, 3, 8\)"),
        (torch.full((3, 8), math.nan), "must hold finite numbers but got nan"),
    ],
)
def test_thetas_of_another_shape_or_not_finite_are_refused(theta: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TaylorGLOLoss(theta)


def test_members_thetas_are_no_trials_params() -> None:
    with pytest.raises(ValueError, match=r"must hold eight numbers but got shape \(3, 8\)"):
        TaylorGLOLoss.to_params(thetas())
