"""TaylorGLO under vmap, torch.compile and autocast, and in half precision."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from epbt_optuna.losses import TaylorGLOLoss, taylor_glo_loss

N_MODELS, N_SAMPLES, N_CLASSES = 3, 5, 4


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def thetas(generator: torch.Generator) -> Tensor:
    return 20 * torch.rand(N_MODELS, 8, generator=generator) - 10


@pytest.fixture
def logits(generator: torch.Generator) -> Tensor:
    return torch.randn(N_MODELS, N_SAMPLES, N_CLASSES, generator=generator)


@pytest.fixture(params=["indices", "probabilities"])
def targets(request: pytest.FixtureRequest, generator: torch.Generator) -> Tensor:
    if request.param == "indices":
        return torch.randint(N_CLASSES, (N_MODELS, N_SAMPLES), generator=generator)
    return torch.rand(N_MODELS, N_SAMPLES, N_CLASSES, generator=generator)


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()
    # torch 2.5's kernels are built with -ffast-math, and loading one changes the whole process's
    # arithmetic, which Hypothesis refuses to work with.
    torch.set_flush_denormal(False)


# vmap


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("in_dims", [(0, 0, 0), (0, None, 0), (None, 0, 0), (0, 0, None)])
def test_a_population_in_one_vmap_equals_a_loop_in_losses_and_gradients(
    in_dims: tuple[int | None, ...],
    normalize: bool,
    logits: Tensor,
    targets: Tensor,
    thetas: Tensor,
) -> None:
    loss = partial(taylor_glo_loss, normalize=normalize)
    slopes = grad(loss, argnums=(0, 2))
    stacks = logits, targets, thetas
    arguments = [s if dim == 0 else s[0] for s, dim in zip(stacks, in_dims, strict=True)]
    each = [
        [a[i] if dim == 0 else a for a, dim in zip(arguments, in_dims, strict=True)]
        for i in range(N_MODELS)
    ]
    torch.testing.assert_close(
        vmap(loss, in_dims)(*arguments), torch.stack([loss(*model) for model in each])
    )
    in_logits, in_theta = vmap(slopes, in_dims)(*arguments)
    torch.testing.assert_close(in_logits, torch.stack([slopes(*model)[0] for model in each]))
    torch.testing.assert_close(in_theta, torch.stack([slopes(*model)[1] for model in each]))


def test_the_module_takes_the_theta_of_each_model_as_a_buffer(
    logits: Tensor, targets: Tensor, thetas: Tensor
) -> None:
    module = TaylorGLOLoss(thetas[0])

    def loss(theta: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        result: Tensor = functional_call(module, {"theta": theta}, (logits, targets))
        return result

    torch.testing.assert_close(
        vmap(loss)(thetas, logits, targets), vmap(taylor_glo_loss)(logits, targets, thetas)
    )


@pytest.mark.parametrize("index", [-1, -101, N_CLASSES])
def test_vmap_does_not_pass_over_a_class_index_out_of_range(
    index: int, logits: Tensor, thetas: Tensor
) -> None:
    targets = torch.full((N_MODELS, N_SAMPLES), index)
    with pytest.raises(RuntimeError, match="out of bounds"):
        vmap(taylor_glo_loss)(logits, targets, thetas)


# torch.compile


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("normalize", [False, True])
def test_traced_as_one_graph_the_function_keeps_its_value_and_all_gradients(
    normalize: bool, logits: Tensor, targets: Tensor, thetas: Tensor
) -> None:
    loss = partial(taylor_glo_loss, normalize=normalize)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    inputs = logits[0].requires_grad_(), thetas[0].requires_grad_()
    expected, actual = (f(inputs[0], targets[0], inputs[1]) for f in (loss, compiled))
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(
        torch.autograd.grad(actual, inputs), torch.autograd.grad(expected, inputs)
    )


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_the_module_keeps_its_value_and_gradient_and_stops_at_a_bad_index(
    logits: Tensor, thetas: Tensor
) -> None:
    module = TaylorGLOLoss(thetas[0])
    compiled = torch.compile(module, fullgraph=True)
    outputs, labels = logits[0].requires_grad_(), torch.arange(N_SAMPLES) % N_CLASSES
    expected, actual = module(outputs, labels), compiled(outputs, labels)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(
        torch.autograd.grad(actual, outputs), torch.autograd.grad(expected, outputs)
    )
    for index in (-1, -101, N_CLASSES):
        labels[0] = index
        with pytest.raises(RuntimeError, match="index out of bounds"):
            compiled(outputs, labels)


# Precision and devices


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_give_a_float32_loss_and_gradients_of_their_own_dtype(
    dtype: torch.dtype, logits: Tensor, targets: Tensor, thetas: Tensor
) -> None:
    half = logits[0].to(dtype).requires_grad_()
    loss = taylor_glo_loss(half, targets[0], thetas[0])
    assert torch.equal(loss, taylor_glo_loss(half.float(), targets[0], thetas[0]))
    assert loss.dtype == torch.float32
    assert torch.autograd.grad(loss, half)[0].dtype == dtype


def test_under_autocast_the_loss_is_computed_in_float32(
    logits: Tensor, targets: Tensor, thetas: Tensor
) -> None:
    model = nn.Linear(N_CLASSES, N_CLASSES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = model(logits[0])
        loss = TaylorGLOLoss(thetas[0], normalize=True)(outputs, targets[0])
    assert outputs.dtype == torch.bfloat16
    assert loss.dtype == torch.float32
    expected = taylor_glo_loss(outputs.float(), targets[0], thetas[0], normalize=True)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert model.weight.grad is not None
    assert model.weight.grad.dtype == torch.float32


def test_float64_logits_are_computed_in_float64_whatever_the_dtype_of_the_rest(
    logits: Tensor, targets: Tensor, thetas: Tensor
) -> None:
    loss = taylor_glo_loss(logits[0].double(), targets[0], thetas[0])
    assert loss.dtype == torch.float64


def test_values_on_another_device_than_the_cpu_are_not_read(
    logits: Tensor, targets: Tensor, thetas: Tensor
) -> None:
    loss = taylor_glo_loss(logits[0].to("meta"), targets[0].to("meta"), thetas[0].tolist())
    assert loss.device.type == "meta"
