"""Networks with each class of module that a stack has been tried with, and their inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

N_SAMPLES = 4


@dataclass(frozen=True)
class Row:
    """A class, what makes an instance of it, and the shapes of one sample of each input."""

    cls: type[nn.Module]
    build: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...]
    note: str = ""

    def inputs(self, *leading: int) -> list[Tensor]:
        """Return random inputs with these dimensions in front of those of a batch."""
        if self.cls is nn.Embedding:
            return [torch.randint(5, (*leading, N_SAMPLES, *shape)) for shape in self.shapes]
        return [torch.randn(*leading, N_SAMPLES, *shape) for shape in self.shapes]

    def __str__(self) -> str:
        return f"{self.cls.__name__}{self.note}"


class Scaled(nn.Module):
    """A user's own module, with a parameter and a buffer of its own, around another."""

    count: Tensor

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.scale = nn.Parameter(1 + 0.1 * torch.randn(()))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, *inputs: Tensor) -> Tensor:
        self.count = self.count + 1  # another tensor in the buffer's place, not written into it
        output = self.inner(*(x * self.scale if x.is_floating_point() else x for x in inputs))
        first: Tensor = output[0] if isinstance(output, tuple) else output
        return first * self.scale


class Residual(nn.Module):
    """Containers in a user's own module: two blocks, and what goes past them."""

    def __init__(self, cls: type[nn.Module]) -> None:
        super().__init__()
        blocks = [nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(2)]
        self.blocks: Any
        self.blocks = cls(blocks if cls is nn.ModuleList else {"a": blocks[0], "b": blocks[1]})

    def forward(self, x: Tensor) -> Tensor:
        blocks = self.blocks.values() if isinstance(self.blocks, nn.ModuleDict) else self.blocks
        for block in blocks:
            x = x + block(x)
        return x


class Weighted(nn.Module):
    """Parameters in a container of their own."""

    def __init__(self, cls: type[nn.Module]) -> None:
        super().__init__()
        weights = [nn.Parameter(torch.randn(6)) for _ in range(2)]
        self.weights: Any
        self.weights = cls(
            weights if cls is nn.ParameterList else {"a": weights[0], "b": weights[1]}
        )

    def forward(self, x: Tensor) -> Tensor:
        weights = self.weights
        for weight in weights.values() if isinstance(weights, nn.ParameterDict) else weights:
            x = x * weight
        return x


def _row(name: str, shape: tuple[int, ...], *args: Any, note: str = "", **options: Any) -> Row:
    cls = getattr(nn, name)
    return Row(cls, lambda: cls(*args, **options), (shape,), note)


def _rows() -> Iterator[Row]:
    for d in (1, 2, 3):
        shape = (2, *(6,) * d)
        yield _row(f"Conv{d}d", shape, 2, 4, 3, stride=2, padding=1)
        yield _row(f"Conv{d}d", shape, 2, 4, 3, groups=2, bias=False, note=" in groups")
        yield _row(
            f"Conv{d}d", shape, 2, 4, 3, padding=1, padding_mode="reflect", note=" reflected"
        )
        yield _row(f"ConvTranspose{d}d", shape, 2, 4, 3, stride=2)
        yield _row(f"BatchNorm{d}d", shape, 2)
        yield _row(
            f"BatchNorm{d}d", shape, 2, affine=False, track_running_stats=False, note=" bare"
        )
        yield _row(f"InstanceNorm{d}d", shape, 2, affine=True, track_running_stats=True)
        for name in ("AvgPool", "MaxPool", "AdaptiveAvgPool", "AdaptiveMaxPool"):
            yield _row(f"{name}{d}d", shape, 2)
        yield _row(f"LPPool{d}d", shape, 2.0, 3)
        yield _row(f"ConstantPad{d}d", shape, 1, 0.5)
        yield _row(f"Dropout{d}d", shape, 0.0)
        for name in ("Circular", "Reflection", "Replication", "Zero"):
            yield _row(f"{name}Pad{d}d", shape, 1)
    yield _row("BatchNorm1d", (6,), 6, note=" of features")
    yield _row("BatchNorm1d", (6,), 6, affine=False, momentum=0.3, note=" not affine")
    yield _row(
        "BatchNorm1d", (6,), 6, track_running_stats=False, note=" without running statistics"
    )
    for name in (
        *("CELU", "ELU", "GELU", "GLU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh"),
        *("Identity", "LeakyReLU", "LogSigmoid", "Mish", "ReLU", "ReLU6", "SELU", "SiLU"),
        *("Sigmoid", "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink"),
    ):
        yield _row(name, (6,))
    yield from (_row(name, (6,), 1) for name in ("LogSoftmax", "Softmax", "Softmin"))
    for name in ("AlphaDropout", "Dropout", "FeatureAlphaDropout"):
        yield _row(name, (6,), 0.0)
    yield _row("ReLU", (6,), inplace=True, note=" in place")
    yield _row("Softmax2d", (2, 3, 3))
    yield _row("Threshold", (6,), 0.1, 0.2)
    yield _row("Linear", (6,), 6, 3)
    yield _row("Linear", (6,), 6, 3, bias=False, note=" without bias")
    yield _row("Linear", (2, 6), 6, 3, note=" of sequences")
    yield Row(nn.CosineSimilarity, nn.CosineSimilarity, ((6,), (6,)))
    yield _row("LayerNorm", (6,), 6)
    yield _row("RMSNorm", (6,), 6)
    yield _row("GroupNorm", (4, 3), 2, 4)
    yield _row("LocalResponseNorm", (4, 3), 2)
    yield _row("Embedding", (3,), 5, 4, padding_idx=0)
    yield _row("Flatten", (2, 3))
    yield _row("Flatten", (2, 3, 2), 2, note=" of some")
    yield _row("Unflatten", (6,), 1, (2, 3))
    yield _row("Fold", (8, 9), (4, 4), 2)
    yield _row("Unfold", (2, 4, 4), 2)
    yield _row("ChannelShuffle", (4, 3, 3), 2)
    yield _row("PixelShuffle", (4, 3, 3), 2)
    yield _row("PixelUnshuffle", (2, 4, 4), 2)
    yield _row("Upsample", (2, 3, 3), scale_factor=2)
    yield _row("Upsample", (2, 3, 3), scale_factor=2, mode="bilinear", note=" bilinear")
    yield from _attention()
    yield Row(
        nn.Sequential,
        lambda: nn.Sequential(nn.Linear(6, 5), nn.Sequential(nn.BatchNorm1d(5), nn.GELU())),
        ((6,),),
    )
    yield Row(
        nn.Sequential,
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU()),
        ((2, 3),),
        " of pictures",
    )
    for modules in (nn.ModuleDict, nn.ModuleList):
        yield Row(modules, partial(Residual, modules), ((6,),))
    for parameters in (nn.ParameterDict, nn.ParameterList):
        yield Row(parameters, partial(Weighted, parameters), ((6,),))


def _attention() -> Iterator[Row]:
    options: dict[str, Any] = {"dropout": 0.0, "batch_first": True}
    token = (3, 4)
    yield Row(nn.MultiheadAttention, lambda: nn.MultiheadAttention(4, 2, **options), (token,) * 3)
    yield Row(
        nn.modules.linear.NonDynamicallyQuantizableLinear,
        lambda: nn.MultiheadAttention(4, 2, **options).out_proj,
        (token,),
    )
    yield Row(
        nn.TransformerEncoderLayer, lambda: nn.TransformerEncoderLayer(4, 2, 8, **options), (token,)
    )
    yield Row(
        nn.TransformerDecoderLayer,
        lambda: nn.TransformerDecoderLayer(4, 2, 8, **options),
        (token, token),
    )
    yield Row(
        nn.TransformerEncoder,
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, **options), 2),
        (token,),
    )
    yield Row(
        nn.TransformerDecoder,
        lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 8, **options), 2),
        (token, token),
    )


ROWS = list(_rows())
