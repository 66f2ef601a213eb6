"""Runs the tables that need a GPU; see the package."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.gpu import __doc__ as description
from tests.benchmarks.making import command_line, quiet

MODULES = {
    "gpu-device": "gpu.device",
    "gpu-loss": "gpu.loss",
    "gpu-mlp": "gpu.training",
    "gpu-cnn": "gpu.training",
    "gpu-resnet32": "gpu.training",
    "gpu-epbt": "gpu.evolution",
}
"""By table, in this order, the module that makes it."""


def no_device(small: bool) -> str | None:
    """Return why the full size cannot be run here."""
    import torch

    if small or torch.cuda.is_available():
        return None
    return "no CUDA device is here; --small runs everything on a CPU, at a small size"


def main(arguments: Sequence[str] | None = None) -> None:
    command_line("tests.benchmarks.gpu", description or "", MODULES, arguments, no_device)


if __name__ == "__main__":
    quiet()
    main()
