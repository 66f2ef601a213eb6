"""Which networks can be stacked: those of modules that have been tried, all else is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrize

__all__ = ["TRIED", "check_networks"]

# Each has a row in tests/batched/networks.py, where a stack of it trains as a loop does.
_OF_EACH_DIMENSION = (
    *("AdaptiveAvgPool", "AdaptiveMaxPool", "AvgPool", "BatchNorm", "CircularPad", "ConstantPad"),
    *("Conv", "ConvTranspose", "Dropout", "InstanceNorm", "LPPool", "MaxPool", "ReflectionPad"),
    *("ReplicationPad", "ZeroPad"),
)
_OTHERS = (
    *("AlphaDropout", "CELU", "ChannelShuffle", "CosineSimilarity", "Dropout", "ELU"),
    *("Embedding", "FeatureAlphaDropout", "Flatten", "Fold", "GELU", "GLU", "GroupNorm"),
    *("Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "Identity", "LayerNorm", "LeakyReLU"),
    *("Linear", "LocalResponseNorm", "LogSigmoid", "LogSoftmax", "Mish", "ModuleDict"),
    *("ModuleList", "MultiheadAttention", "ParameterDict", "ParameterList"),
    *("PixelShuffle", "PixelUnshuffle", "RMSNorm", "ReLU", "ReLU6", "SELU", "Sequential", "SiLU"),
    *("Sigmoid", "Softmax", "Softmax2d", "Softmin", "Softplus", "Softshrink", "Softsign", "Tanh"),
    *("Tanhshrink", "Threshold", "TransformerDecoder", "TransformerDecoderLayer"),
    *("TransformerEncoder", "TransformerEncoderLayer", "Unflatten", "Unfold", "Upsample"),
)
TRIED: frozenset[type[nn.Module]] = frozenset(
    [getattr(nn, f"{name}{d}d") for name in _OF_EACH_DIMENSION for d in (1, 2, 3)]
    + [getattr(nn, name) for name in _OTHERS]
    # The class of a `MultiheadAttention`'s output layer, which is used as a `Linear`.
    + [nn.modules.linear.NonDynamicallyQuantizableLinear]
)

_HOOKS = (
    *("_backward_hooks", "_backward_pre_hooks", "_forward_hooks", "_forward_pre_hooks"),
    *("_load_state_dict_post_hooks", "_load_state_dict_pre_hooks", "_state_dict_hooks"),
    "_state_dict_pre_hooks",
)

_OF_EVERY_MODULE = vars(nn.Module()).keys() - {"training"}

_PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)


def check_networks(networks: Sequence[nn.Module]) -> None:
    """Raise unless the networks differ in nothing but numbers, and can be computed as one.

    Raises:
        TypeError: One is not a module.
        ValueError: They cannot be stacked; the message names the module and says why.
    """
    for network in networks:
        if not isinstance(network, nn.Module):
            raise TypeError(f"`build` must return a module but got {type(network).__name__}.")
    if len({id(network) for network in networks}) < len(networks):
        raise ValueError("`build` must make a new network at each call but returned one twice.")
    for network in networks:
        if not _tensors(network):
            raise ValueError("`build` must make networks that have parameters but got none.")
        _check_ties(network)
        for path, module in network.named_modules():
            for reason in _reasons(module):
                raise ValueError(
                    f"`build` must make networks that can be stacked but {_place(path, module)} "
                    f"{reason}."
                )
    for i, network in enumerate(networks[1:], 1):
        _check_same(networks[0], network, i)


def _reasons(module: nn.Module) -> Iterator[str]:
    """Yield why a module cannot be computed for all members at once."""
    if isinstance(module, LazyModuleMixin):
        yield "has no shapes yet: call the network once before `build` returns it"
    if parametrize.is_parametrized(module):
        yield "computes its weights from others, as weight and spectral norm do"
    for name in _HOOKS:
        if getattr(module, name, None):
            yield f"has hooks ({name.lstrip('_')}), as weight and spectral norm have"
    torchs = next(cls for cls in type(module).__mro__ if cls.__module__.split(".")[0] == "torch")
    if torchs is not nn.Module and torchs not in TRIED:
        yield "is of a class that nobody has tried, or that `torch.func.vmap` cannot compute"
    for cls, rule, reason in _CONDITIONS:
        if isinstance(module, cls) and rule(module):
            yield reason
    if type(module).get_extra_state is not nn.Module.get_extra_state:
        yield "has an extra state, which is no tensor to stack"
    for name, value in _own_attributes(module):
        if _holds_tensors(value):
            yield (
                f"holds tensors or modules in `{name}` that are not registered: use "
                "`register_buffer`, `ParameterList` or `ModuleList`"
            )


_CONDITIONS: tuple[tuple[type[nn.Module], Callable[[Any], bool], str], ...] = (
    (
        nn.modules.batchnorm._NormBase,
        lambda module: module.track_running_stats and module.momentum is None,
        "has `momentum=None`, which needs a count of batches that `torch.func.vmap` cannot read",
    ),
    (
        nn.Embedding,
        lambda module: module.max_norm is not None,
        "has `max_norm`, which `torch.func.vmap` cannot compute",
    ),
    (nn.Embedding, lambda module: module.sparse, "has sparse gradients"),
)


def _check_ties(network: nn.Module) -> None:
    """Raise if a tensor has two names: each would get a stack of its own."""
    names: dict[int, str] = {}
    for named in (network.named_parameters, network.named_buffers):
        for name, tensor in named(remove_duplicate=False):
            if (other := names.setdefault(id(tensor), name)) != name:
                raise ValueError(
                    "`build` must make networks without tied weights but "
                    f"`{other}` and `{name}` are one tensor."
                )


def _check_same(first: nn.Module, other: nn.Module, i: int) -> None:
    """Raise unless network i differs from the first in nothing but numbers."""
    modules, others = dict(first.named_modules()), dict(other.named_modules())
    for path in sorted(modules.keys() ^ others.keys()):
        raise ValueError(
            f"`build` must make networks of one structure but `{path}` is in network "
            f"{0 if path in modules else i} and not in network {i if path in modules else 0}."
        )
    for path, module in modules.items():
        place = _place(path, module)
        if type(module) is not type(others[path]):
            raise ValueError(
                f"`build` must make networks of one structure but {place} is a "
                f"{type(others[path]).__name__} in network {i}."
            )
        own, theirs = dict(_own_attributes(module)), dict(_own_attributes(others[path]))
        for name, value in own.items():
            if _is_plain(value) and value != theirs.get(name, value):
                raise ValueError(
                    f"`build` must make networks that differ in nothing but their weights but "
                    f"`{name}` of {place} is {value!r} in network 0 and {theirs[name]!r} in "
                    f"network {i}. Rates of dropout may differ in `batched.Dropout`."
                )
    tensors, theirs = _tensors(first), _tensors(other)
    for name in sorted(tensors.keys() | theirs.keys()):
        form, their = _form(tensors.get(name)), _form(theirs.get(name))
        if form != their:
            raise ValueError(
                f"`build` must make networks of the same shapes but `{name}` has {form} in network "
                f"0 and {their} in network {i}."
            )


def _place(path: str, module: nn.Module) -> str:
    return f"`{path}` ({type(module).__name__})" if path else type(module).__name__


def _own_attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield what a module has beside its parameters, buffers and modules."""
    return ((name, value) for name, value in vars(module).items() if name not in _OF_EVERY_MODULE)


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def _form(tensor: Tensor | None) -> str:
    """Say what must be equal of the tensors that become one."""
    if tensor is None:
        return "no tensor"
    trained = "" if tensor.requires_grad else ", without gradient"
    return f"shape {tuple(tensor.shape)}, {tensor.dtype}, {tensor.device}{trained}"


def _parts(value: Any) -> list[Any] | None:
    """Return what a collection holds."""
    if isinstance(value, dict):
        return [*value, *value.values()]
    return list(value) if isinstance(value, (list, tuple, set, frozenset)) else None


def _is_plain(value: Any) -> bool:
    """Tell whether equality of two such values can be asked."""
    parts = _parts(value)
    return isinstance(value, _PLAIN) if parts is None else all(map(_is_plain, parts))


def _holds_tensors(value: Any) -> bool:
    parts = _parts(value)
    return (
        isinstance(value, (Tensor, nn.Module)) if parts is None else any(map(_holds_tensors, parts))
    )
