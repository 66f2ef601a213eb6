"""The device's own rates, and how to time what runs on it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import NamedTuple

import torch

from tests.benchmarks.measure import interleaved
from tests.benchmarks.table import Case, Figure, Table

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Rates(NamedTuple):
    """Samples of what the device does a second.

    Attributes:
        products: Floating-point operations of a large matrix product, by precision.
        copy: Bytes of a large copy, read and written.
    """

    products: dict[str, list[float]]
    copy: list[float]

    def product(self, precision: str) -> float:
        """Return the best rate of a matrix product: what a share is a share of."""
        return max(self.products[precision])


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def synchronized(call: Callable[[], object]) -> None:
    """Call, and wait until the device has done it."""
    call()
    if device() == "cuda":
        torch.cuda.synchronize()


def timed(
    ways: Mapping[str, Callable[[], object]], n: int, n_warm: int = 3
) -> dict[str, list[float]]:
    """Time ways that take turns, to the end of their work on the device; return seconds."""
    calls = {name: partial(synchronized, way) for name, way in ways.items()}
    return interleaved(calls, n, n_warm)


def those_that_run(
    ways: Mapping[str, Callable[[], Callable[[], object]]],
) -> dict[str, Callable[[], object]]:
    """Prepare ways, and leave out those that fail; say so."""
    prepared = {}
    for name, prepare in ways.items():
        try:
            way = prepare()
            synchronized(way)
        except (RuntimeError, TypeError, ValueError) as error:  # noqa: PERF203, each by itself
            sys.stderr.write(f"{name} does not run here: {str(error).splitlines()[0]}\n")
        else:
            prepared[name] = way
    return prepared


@lru_cache(maxsize=2)
def rates(small: bool) -> Rates:
    """Measure the device's rates."""
    size, n_bytes, n = (128, 2**20, 3) if small else (8_192, 2**30, 30)
    ways: dict[str, Callable[[], object]] = {}
    for name, dtype in PRECISIONS.items():
        matrix = torch.randn(size, size, device=device(), dtype=dtype)
        ways[name] = partial(torch.mm, matrix, matrix)
    source = torch.zeros(n_bytes, dtype=torch.uint8, device=device())
    ways["copy"] = partial(torch.empty_like(source).copy_, source)
    times = timed(ways, n)
    return Rates(
        {name: [2 * size**3 / spent for spent in times[name]] for name in PRECISIONS},
        [2 * n_bytes / spent for spent in times["copy"]],
    )


def bench_device(small: bool) -> Table:
    """Show the device's rates."""
    measured = rates(small)
    products = {name: Figure.of(own, 1e-12) for name, own in measured.products.items()}
    return Table(
        "What the device does",
        (
            Case("a large matrix product", "TFLOP/s", products),
            Case(
                "a large copy, read and written", "GB/s", {"bytes": Figure.of(measured.copy, 1e-9)}
            ),
        ),
        over={},
    )


BENCHMARKS = {"gpu-device": bench_device}
