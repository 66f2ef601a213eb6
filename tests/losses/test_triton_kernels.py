"""The kernels for CUDA give what torch's own operations give.

Where there is no GPU, triton's interpreter runs them on the CPU, in a process of its own: it is
asked for by a variable that triton reads when it is imported.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from epbt_optuna._internal.each import Each
from epbt_optuna.losses import fused, taylor_glo_loss

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="torch has no triton here"
)

THETA = (0.5, -1.0, 2.0, -3.0, 4.0, 5.0, -6.0, 7.0)
CASES: list[tuple[tuple[int, ...], torch.dtype, dict[str, Any]]] = [
    ((1, 2), torch.float32, {}),
    ((7, 10), torch.float32, {"reduction": "none"}),
    ((7, 10), torch.float16, {"ignore_index": 1}),
    ((3, 1000), torch.float32, {"reduction": "sum", "normalize": True}),
    ((300, 5), torch.bfloat16, {}),  # two programs, and the second one not full
    ((2, 3000), torch.float16, {"reduction": "sum"}),
    ((2, 3, 10), torch.float32, {}),  # two members
    ((3, 2, 10), torch.float16, {"ignore_index": 1}),
    ((2, 3, 10), torch.float32, {"reduction": "none", "normalize": True}),
]


def results(
    logits: Tensor, target: Tensor | Each, theta: tuple[float, ...] | Tensor, **options: Any
) -> list[Tensor]:
    """Loss, gradient and a second derivative."""
    logits = logits.detach().requires_grad_()
    loss = taylor_glo_loss(logits, target, theta, **options)
    weights = torch.linspace(1, 2, loss.numel(), device=loss.device).view(loss.shape)
    (slope,) = torch.autograd.grad(loss, logits, weights, retain_graph=True)
    (twice,) = torch.autograd.grad(loss, logits, weights, create_graph=True)
    return [loss.detach(), slope, *torch.autograd.grad(twice.square().sum(), logits)]


def check_kernels(device: str) -> None:
    """Compare the kernels with torch's operations for shapes, θ, dtypes and options."""
    from epbt_optuna.losses import triton_kernels

    generator = torch.Generator().manual_seed(0)
    for shape, dtype, options in CASES:
        logits = (3 * torch.randn(shape, generator=generator)).to(device, dtype)
        labels = torch.randint(shape[-1], shape[:-1], generator=generator).to(device)
        labels.view(-1)[0] = 1
        thetas = 20 * torch.rand(shape[0], 8, generator=generator).to(device) - 10
        members = len(shape) == 3
        batch = (logits, Each(labels), thetas) if members else (logits, labels, THETA)
        with mock.patch.object(fused, "_kernels", return_value=triton_kernels) as asked:
            actual = results(*batch, **options)
        assert asked.called
        with mock.patch.object(fused, "_kernels", return_value=None):
            expected = results(*batch, **options)
        rtol = {torch.float16: 2e-3, torch.bfloat16: 2e-2}.get(dtype, 1e-4)
        for ours, theirs in zip(actual, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=rtol, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA here")
def test_on_cuda_the_kernels_give_what_torchs_operations_give() -> None:
    check_kernels("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA here")
def test_on_cuda_the_kernels_are_used() -> None:
    logits = torch.zeros(2, 3, device="cuda")
    assert fused._kernels(logits, -1) is not None
    assert fused._kernels(logits.double(), -1) is None
    assert fused._kernels(torch.zeros(2, 20_000, device="cuda"), -1) is None


def test_interpreted_the_kernels_give_what_torchs_operations_give() -> None:
    root = Path(__file__).parents[2]
    subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore::RuntimeWarning",  # rows beyond the last are computed, to NaN, and not stored
            "-c",
            "from tests.losses.test_triton_kernels import check_kernels; check_kernels('cpu')",
        ],
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(root)},
        cwd=root,
        check=True,
    )


@pytest.mark.parametrize("name", ["_losses_kernel", "_gradient_kernel"])
def test_the_kernels_compile_for_a_gpu_that_is_not_here(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from epbt_optuna.losses import triton_kernels

    if tuple(map(int, triton.__version__.split(".")[:2])) < (3, 3):
        pytest.skip("sources are described in another way there")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = getattr(triton_kernels, name)
    types = {"logits": "*fp16", "true": "*fp16", "target": "*i64", "grad": "*fp32"}
    types |= dict.fromkeys(("k", "a", "c_h", "c_hh", "c_hy"), "*fp32")
    types["result"] = "*fp32" if name == "_losses_kernel" else "*fp16"
    constants = {"ROWS": 64, "BLOCK": 16}
    types |= dict.fromkeys(constants, "constexpr")
    source = ASTSource(
        fn=kernel,
        signature={argument: types.get(argument, "i32") for argument in kernel.arg_names},
        constexprs={(kernel.arg_names.index(key),): value for key, value in constants.items()},
    )
    assert triton.compile(source, target=GPUTarget("cuda", 80, 32)).asm["ptx"]


def test_on_the_cpu_no_kernel_is_asked_for() -> None:
    with mock.patch.object(fused, "_kernels_on") as asked:
        results(torch.zeros(2, 3), torch.tensor([0, 1]), THETA)
    asked.assert_not_called()


def test_where_no_kernel_runs_torchs_operations_are_used_in_silence() -> None:
    # A device that triton has nothing for stands for all that keeps a kernel from running.
    assert fused._kernels_on.__wrapped__(torch.device("cpu")) is None
