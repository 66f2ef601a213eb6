"""The paper's networks and smaller ones for a CPU, initialised as in He et al. (2015)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812, PyTorch's own name for it

from examples.label_noise import mlp

Shape = tuple[int, int, int]
"""Channels, rows and columns of an image."""


class ResidualBlock(nn.Module):
    """Two 3 × 3 convolutions, batch-normalised, around them a shortcut without weights.

    Option A of He et al. (2016): where the block halves the image, the shortcut takes every other
    pixel and fills the new channels with zeros.
    """

    def __init__(self, n_inputs: int, n_outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.n_new_channels = n_outputs - n_inputs
        self.convolution1 = convolution(n_inputs, n_outputs, stride)
        self.norm1 = nn.BatchNorm2d(n_outputs)
        self.convolution2 = convolution(n_outputs, n_outputs)
        self.norm2 = nn.BatchNorm2d(n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block's output, of `n_outputs` channels."""
        shortcut = x[:, :, :: self.stride, :: self.stride]
        shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.n_new_channels))
        x = F.relu(self.norm1(self.convolution1(x)))
        return F.relu(self.norm2(self.convolution2(x)) + shortcut)


class PreactivationBlock(nn.Module):
    """Norm, ReLU, convolution, twice; a 1 × 1 convolution where the shape changes (Zagoruyko)."""

    def __init__(self, n_inputs: int, n_outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(n_inputs)
        self.convolution1 = convolution(n_inputs, n_outputs, stride)
        self.norm2 = nn.BatchNorm2d(n_outputs)
        self.convolution2 = convolution(n_outputs, n_outputs)
        self.projection = (
            None
            if n_inputs == n_outputs
            else nn.Conv2d(n_inputs, n_outputs, 1, stride=stride, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block's output, of `n_outputs` channels."""
        activated = F.relu(self.norm1(x))
        shortcut = x if self.projection is None else self.projection(activated)
        x = self.convolution1(activated)
        outputs: Tensor = self.convolution2(F.relu(self.norm2(x))) + shortcut
        return outputs


def convolution(n_inputs: int, n_outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(n_inputs, n_outputs, 3, stride=stride, padding=1, bias=False)


def stages(
    block: Callable[[int, int, int], nn.Module], n_inputs: int, widths: list[int], depth: int
) -> list[nn.Module]:
    """Make stages of `depth` blocks; each but the first halves rows and columns."""
    blocks: list[nn.Module] = []
    for stage, width in enumerate(widths):
        for i in range(depth):
            blocks.append(block(n_inputs, width, 2 if stage > 0 and i == 0 else 1))
            n_inputs = width
    return blocks


def head(n_inputs: int, n_classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n_inputs, n_classes)]


def resnet32(shape: Shape, n_classes: int) -> nn.Module:
    """ResNet-32 of He et al. (2016): 6n + 2 layers with n = 5; 464,154 weights on CIFAR-10."""
    stem = [convolution(shape[0], 16), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(*stem, *stages(ResidualBlock, 16, [16, 32, 64], 5), *head(64, n_classes))


def wrn_16_8(shape: Shape, n_classes: int) -> nn.Module:
    """WRN-16-8 of Zagoruyko & Komodakis (2016): 6n + 4 layers, n = 2, eight times as wide."""
    blocks = stages(PreactivationBlock, 16, [128, 256, 512], 2)
    last = [nn.BatchNorm2d(512), nn.ReLU()]
    return nn.Sequential(convolution(shape[0], 16), *blocks, *last, *head(512, n_classes))


def cnn(shape: Shape, n_classes: int) -> nn.Module:
    """Three convolutions, small enough for a CPU."""
    layers: list[nn.Module] = []
    n_inputs = shape[0]
    for width in (16, 32, 64):
        layers += [convolution(n_inputs, width, stride=2), nn.BatchNorm2d(width), nn.ReLU()]
        n_inputs = width
    return nn.Sequential(*layers, *head(64, n_classes))


def flat_mlp(shape: Shape, n_classes: int) -> nn.Module:
    """The demo's network: pixels → 128 → 64 → classes, batch-normalised."""
    n_pixels = shape[0] * shape[1] * shape[2]
    return nn.Sequential(nn.Flatten(), mlp(n_pixels, 128, 64, n_classes=n_classes))


MODELS: dict[str, Callable[[Shape, int], nn.Module]] = {
    "resnet32": resnet32,
    "wrn-16-8": wrn_16_8,
    "cnn": cnn,
    "mlp": flat_mlp,
}


def make_network(model: str, shape: Shape, n_classes: int) -> nn.Module:
    """Make a network with the weights of He et al. (2015): N(0, 2 / fan-in), biases zero.

    Weights come from torch's global random state, as everywhere in PyTorch.
    """
    network = MODELS[model](shape, n_classes)
    initialise = partial(nn.init.kaiming_normal_, nonlinearity="relu")
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            initialise(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def n_weights(network: nn.Module) -> int:
    """Count what is trained; running statistics are not."""
    return sum(parameter.numel() for parameter in network.parameters())
