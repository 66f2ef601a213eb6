"""Weights, classes left out and smoothed labels: the laws of `torch.nn.CrossEntropyLoss`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from epbt_optuna.losses import TaylorGLOLoss, taylor_glo_loss

THETA = (0.5, -1.0, 2.0, -3.0, 4.0, 5.0, -6.0, 7.0)
WEIGHT = torch.tensor([1.0, 0.5, 3.0, 0.0], dtype=torch.float64)
TARGET = torch.tensor([0, 2, -100, 3, 1, 2])

# Each law is shown to be cross-entropy's, too.
both = pytest.mark.parametrize(
    "loss",
    [partial(taylor_glo_loss, theta=THETA), cross_entropy],
    ids=["TaylorGLO", "cross-entropy"],
)
Loss = Callable[..., Tensor]


def random_logits(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def one_hot(target: Tensor) -> Tensor:
    return torch.eye(4, dtype=torch.float64)[target]


@both
@pytest.mark.parametrize("ignore_index", [-100, 2, 255])
@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 2, 3)])
def test_samples_of_the_class_to_leave_out_count_nowhere(
    loss: Loss, ignore_index: int, shape: tuple[int, ...]
) -> None:
    logits = random_logits(*shape).requires_grad_()
    target = TARGET.view(-1, *[1] * (len(shape) - 2)).expand(6, *shape[2:]).clone()
    target[target == -100] = ignore_index
    kept = target != ignore_index
    rest = logits.movedim(1, -1)[kept], target[kept]
    losses = loss(logits, target, ignore_index=ignore_index, reduction="none")
    assert losses[~kept].eq(0).all()
    torch.testing.assert_close(losses[kept], loss(*rest, reduction="none"))
    for reduction in ("mean", "sum"):
        for weight in (None, WEIGHT):
            torch.testing.assert_close(
                loss(logits, target, weight=weight, ignore_index=ignore_index, reduction=reduction),
                loss(*rest, weight=weight, reduction=reduction),
            )
    (slope,) = torch.autograd.grad(losses.sum(), logits)
    assert slope.movedim(1, -1)[~kept].eq(0).all()


@both
def test_a_batch_of_nothing_but_the_class_to_leave_out_has_no_mean(loss: Loss) -> None:
    logits, target = random_logits(2, 4), torch.tensor([-100, -100])
    assert loss(logits, target).isnan()
    assert loss(logits, target, reduction="sum") == 0


@both
@pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
def test_for_class_indices_the_mean_is_the_sum_over_the_samples_class_weights(
    loss: Loss, smoothing: float
) -> None:
    logits = random_logits(6, 4)
    weighted = partial(loss, logits, TARGET, weight=WEIGHT, label_smoothing=smoothing)
    total = WEIGHT[TARGET[TARGET >= 0]].sum()
    torch.testing.assert_close(weighted(reduction="mean"), weighted(reduction="sum") / total)
    torch.testing.assert_close(weighted(reduction="sum"), weighted(reduction="none").sum())


@both
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_for_probabilities_the_mean_is_over_the_samples_whatever_their_weights(
    loss: Loss, smoothing: float
) -> None:
    logits, target = random_logits(6, 4, 5), random_logits(6, 4, 5).softmax(1)
    weighted = partial(loss, logits, target, weight=WEIGHT, label_smoothing=smoothing)
    losses = weighted(reduction="none")
    torch.testing.assert_close(weighted(reduction="sum"), losses.sum())
    torch.testing.assert_close(weighted(reduction="mean"), losses.mean())


@both
def test_a_class_index_and_its_one_hot_probabilities_have_one_weight(loss: Loss) -> None:
    logits, target = random_logits(6, 4), TARGET.clamp(min=0)
    weighted = partial(loss, logits, weight=WEIGHT, reduction="none")
    torch.testing.assert_close(weighted(target), weighted(one_hot(target)))
    torch.testing.assert_close(
        weighted(target), WEIGHT[target] * loss(logits, target, reduction="none")
    )


@both
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_smoothing_spreads_a_share_of_each_label_over_all_classes(
    loss: Loss, weight: Tensor | None
) -> None:
    logits, target = random_logits(6, 4), TARGET.clamp(min=0)
    weighted = partial(loss, logits, weight=weight, reduction="none")
    expected = weighted(one_hot(target) * 0.7 + 0.3 / 4)
    torch.testing.assert_close(weighted(target, label_smoothing=0.3), expected)
    torch.testing.assert_close(weighted(one_hot(target), label_smoothing=0.3), expected)


def test_the_weight_of_a_soft_label_is_the_mean_of_its_classes_weights() -> None:
    logits, target = random_logits(6, 4, 2), random_logits(6, 4, 2).softmax(1)
    losses = taylor_glo_loss(logits, target, THETA, reduction="none")
    weights = torch.einsum("ncd,c->nd", target, WEIGHT)
    torch.testing.assert_close(
        taylor_glo_loss(logits, target, THETA, weight=WEIGHT, reduction="none"), losses * weights
    )


def test_under_autocast_weights_and_smoothed_labels_stay_whole() -> None:
    logits, target = random_logits(6, 4).float(), random_logits(6, 4).softmax(1).float()
    loss = TaylorGLOLoss(THETA, weight=WEIGHT.float(), label_smoothing=0.3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = loss(logits, target)
    assert torch.equal(actual, loss(logits, target))


def test_a_bytes_index_is_compared_as_the_number_that_it_is() -> None:
    target = torch.tensor([0, 156], dtype=torch.uint8)  # -100, where it is taken modulo 256
    with pytest.raises(ValueError, match=r"must be from 0 to 3, .* but got 156"):
        taylor_glo_loss(random_logits(2, 4), target, THETA)
    target = torch.tensor([0, 3], dtype=torch.uint8)
    losses = taylor_glo_loss(random_logits(2, 4), target, THETA, ignore_index=3, reduction="none")
    assert losses[1] == 0


OPTIONS: dict[str, Any] = {"weight": WEIGHT, "label_smoothing": 0.3}


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_first_and_second_derivatives_are_right_in_all_that_is_differentiable(
    soft: bool, reduction: str
) -> None:
    logits = random_logits(6, 4).requires_grad_()
    target = random_logits(6, 4).softmax(1).detach().requires_grad_() if soft else TARGET
    theta = torch.tensor(THETA, dtype=torch.float64, requires_grad=True)
    weight = WEIGHT.clone().requires_grad_()

    def loss(logits: Tensor, target: Tensor, theta: Tensor, weight: Tensor) -> Tensor:
        return taylor_glo_loss(
            logits,
            target,
            theta,
            weight=weight,
            label_smoothing=0.3,
            normalize=True,
            reduction=reduction,
        )

    assert torch.autograd.gradcheck(loss, (logits, target, theta, weight))
    assert torch.autograd.gradgradcheck(loss, (logits, target, theta, weight))


@pytest.mark.parametrize("soft", [False, True])
def test_under_vmap_a_population_has_a_weight_each(soft: bool) -> None:
    logits, weights = random_logits(3, 6, 4), WEIGHT + torch.arange(3).unsqueeze(1)
    targets = random_logits(3, 6, 4).softmax(2) if soft else TARGET.expand(3, 6)
    modules = [TaylorGLOLoss(THETA, weight=w, label_smoothing=0.3) for w in weights]

    def loss(weight: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        result: Tensor = functional_call(modules[0], {"weight": weight}, (logits, target))
        return result

    each = zip(modules, logits, targets, strict=True)
    torch.testing.assert_close(
        vmap(loss)(weights, logits, targets), torch.stack([m(z, x) for m, z, x in each])
    )
    slopes = vmap(grad(loss, argnums=1))(weights, logits, targets)
    torch.testing.assert_close(slopes[1], grad(loss, argnums=1)(weights[1], logits[1], targets[1]))


@pytest.mark.parametrize("soft", [False, True])
def test_compiled_as_one_graph_the_module_keeps_value_and_gradient(soft: bool) -> None:
    torch.compiler.reset()
    module = TaylorGLOLoss(THETA, normalize=True, **OPTIONS)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    logits = random_logits(6, 4).requires_grad_()
    target = random_logits(6, 4).softmax(1).detach() if soft else TARGET
    expected, actual = module(logits, target), compiled(logits, target)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(
        torch.autograd.grad(actual, logits), torch.autograd.grad(expected, logits)
    )
    torch.compiler.reset()


def test_the_module_hands_all_options_on_however_it_was_made() -> None:
    logits, target = random_logits(6, 4), TARGET
    made = TaylorGLOLoss(THETA, **OPTIONS, ignore_index=1, reduction="sum")
    other = TaylorGLOLoss.from_params(
        TaylorGLOLoss.to_params(THETA), **OPTIONS, ignore_index=1, reduction="sum"
    )
    target = target.clamp(min=0)
    expected = taylor_glo_loss(logits, target, THETA, **OPTIONS, ignore_index=1, reduction="sum")
    assert made(logits, target) == other(logits, target) == expected
    assert repr(made) == repr(other)
    assert "weight=[1.0, 0.5, 3.0, 0.0], ignore_index=1, label_smoothing=0.3" in repr(made)
    assert made.state_dict() == {}


# Mistakes


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"weight": [1.0, 2.0]}, TypeError, "`weight` must be a tensor but got list"),
        ({"weight": torch.ones(2).long()}, TypeError, "`weight` must be floating .* torch.int64"),
        ({"weight": torch.ones(1, 2)}, ValueError, r"`weight` must have shape .*got \(1, 2\)"),
        ({"weight": torch.tensor([1, torch.nan])}, ValueError, "finite numbers but got nan"),
        ({"ignore_index": None}, TypeError, "`ignore_index` must be an integer but got None"),
        ({"ignore_index": True}, TypeError, "`ignore_index` must be an integer but got True"),
        ({"label_smoothing": 1.1}, ValueError, r"`label_smoothing` must be in \[0, 1\] .* 1.1"),
        ({"label_smoothing": "no"}, TypeError, "`label_smoothing` must be a number but got 'no'"),
        ({"normalize": "no"}, TypeError, "`normalize` must be True or False but got 'no'"),
    ],
)
def test_an_option_out_of_its_range_is_refused_by_the_function_and_when_the_module_is_made(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        taylor_glo_loss(torch.zeros(1, 2), torch.tensor([0]), THETA, **options)
    with pytest.raises(error, match=message):
        TaylorGLOLoss(THETA, **options)


@pytest.mark.parametrize(
    ("logits", "target", "options", "message"),
    [
        (
            torch.zeros(1, 2),
            torch.tensor([0]),
            {"weight": torch.ones(3)},
            r"`weight` must have shape \(2,\), one for each class, but got \(3,\)",
        ),
        (
            torch.zeros(1, 2),
            torch.tensor([0]),
            {"weight": torch.ones(2, device="meta")},
            "`weight` must be on the device of `logits`, cpu, but got meta",
        ),
        (
            torch.zeros(1, 2),
            torch.tensor([[0.5, 0.5]]),
            {"ignore_index": 1},
            "`ignore_index` must be left out where `target` holds class probabilities but got 1",
        ),
        (  # the shapes of binary cross-entropy: sixteen samples, not one of sixteen classes
            torch.zeros(16),
            torch.ones(16),
            {},
            r"must sum to 1 for `logits` of shape \(16,\), one sample of 16 classes, but sum to 16",
        ),
    ],
)
def test_options_that_do_not_fit_the_batch_are_refused(
    logits: Tensor, target: Tensor, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        taylor_glo_loss(logits, target, THETA, **options)


# The module as part of a model


@pytest.mark.parametrize("cast", ["half", "bfloat16", "to"])
def test_theta_and_weight_stay_whole_where_a_model_is_made_half_precise(cast: str) -> None:
    weight = torch.tensor([1 / 3, 2 / 3, 1.0, 1.0])
    net, loss = nn.Linear(2, 4), TaylorGLOLoss([0.1] * 8, weight=weight)
    model = nn.Sequential(net, loss)
    model.to(torch.bfloat16) if cast == "to" else getattr(model, cast)()
    assert net.weight.itemsize == 2
    assert torch.equal(loss.theta, torch.tensor([0.1] * 8))
    assert loss.weight is not None
    assert torch.equal(loss.weight, weight)
    model.to("meta", torch.float16)
    assert (loss.theta.device.type, loss.theta.dtype) == ("meta", torch.float32)


def test_theta_is_whole_whatever_the_default_dtype() -> None:
    torch.set_default_dtype(torch.bfloat16)
    try:
        assert TaylorGLOLoss([0.1] * 8).theta.dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("model", [TaylorGLOLoss(THETA), nn.Sequential(TaylorGLOLoss(THETA))])
def test_torchscript_is_refused_with_what_to_use_instead(model: nn.Module) -> None:
    with pytest.raises(TypeError, match=r"script the model without its loss, or use torch.compile"):
        torch.jit.script(model)
