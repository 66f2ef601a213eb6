"""Several networks of one architecture as one: their tensors get a dimension of members in front.

`torch.func.vmap` computes all of them as the network's own `forward` does one. A plain chain of
common layers is computed without it, see `chain.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from epbt_optuna._internal.checks import check_integer
from epbt_optuna._internal.each import Each
from epbt_optuna.batched.chain import compute_chain, find_chain
from epbt_optuna.batched.layers import Dropout
from epbt_optuna.batched.refusals import check_networks

__all__ = ["Stack", "stack"]

_NORMALISATIONS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)
_HALF = (torch.bfloat16, torch.float16)
_TRANSFORMERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


def stack(build: Callable[[], nn.Module], n: int) -> Stack:
    """Build n networks and return them as one module, which computes all of them at once.

    Args:
        build: Makes one network. It is called n times in a row, so that a seed set before gives
            the networks that it would give to a loop.
        n: The number of members, P.

    Raises:
        TypeError: `build` is no function, or returns no module.
        ValueError: The networks differ in more than their numbers, or have something that cannot
            be computed for all at once: the message names the module and the reason.
    """
    if isinstance(build, nn.Module) or not callable(build):
        raise TypeError(
            f"`build` must be a function that makes a network but got {type(build).__name__}."
        )
    check_integer("n", n, at_least=1)
    return Stack([build() for _ in range(n)])


class Stack(nn.Module):
    """P networks as one module: see `stack`.

    Parameters and buffers have shape (P, ...). Call it as one network is called. A tensor goes to
    all members; of one that is marked, `model(each(x))`, member i gets `x[i]`. What a member
    returns, a tensor or a nesting of tuples and dicts with tensors, comes back with shape (P, ...).

    Args:
        networks: The members. The stack takes them over: do not use them any more.

    Attributes:
        network: The first of the networks, with the tensors of all.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        check_networks(networks)
        self.network = networks[0]
        self._n_members = len(networks)
        for path, module in self.network.named_modules():
            _stack_tensors(path, module, [network.get_submodule(path) for network in networks])
            if isinstance(module, _NORMALISATIONS):
                module.forward = partial(_normalise, module.forward)  # type: ignore[method-assign]
        self._chain = find_chain(self.network)
        self._transformer = next(
            (path for path, m in self.network.named_modules() if isinstance(m, _TRANSFORMERS)), None
        )

    def __len__(self) -> int:
        return self._n_members

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return each member's output, stacked."""
        for i, value in enumerate(args):
            self._check_each(f"argument {i}", value)
        for name, value in kwargs.items():
            self._check_each(f"`{name}`", value)
        if self._chain is not None and len(args) == 1 and not kwargs:
            x, is_each = _value(args[0]), isinstance(args[0], Each)
            ndim = x.ndim - is_each
            if ndim == 2 or (ndim > 2 and isinstance(self._chain[0], nn.Flatten)):
                return compute_chain(self._chain, x if is_each else x.expand(len(self), *x.shape))
        tensors = {**dict(self.network.named_parameters()), **dict(self.network.named_buffers())}
        values = ([_value(arg) for arg in args], {key: _value(kwargs[key]) for key in kwargs})
        in_dims = ([_in_dim(arg) for arg in args], {key: _in_dim(kwargs[key]) for key in kwargs})
        place = next(iter(tensors.values())).device.type
        if self._transformer is not None and place == "cuda" and torch.is_autocast_enabled(place):
            raise ValueError(
                "A stack on CUDA must be called without autocast where it has a transformer layer, "
                f"whose backward pass torch cannot compute then, but has `{self._transformer}`. "
                "Leave autocast out, or train these networks in a loop."
            )
        compute = vmap(self._compute_one, in_dims=(0, *in_dims), randomness="different")
        with _attention_that_can_be_stacked(place):
            return compute(tensors, *values)

    def _compute_one(
        self, tensors: dict[str, Tensor], args: list[Any], kwargs: dict[str, Any]
    ) -> Any:
        """Compute one member, from its own tensors."""
        own = dict(tensors)
        output = functional_call(self.network, own, tuple(args), kwargs, tie_weights=False)
        # A module may write into a buffer, or put another in its place, which ends up in `own`.
        for name, value in own.items():
            if value is not tensors[name]:
                tensors[name].copy_(value)
        return output

    def _check_each(self, what: str, value: Any) -> None:
        if not isinstance(value, Each):
            return
        if not isinstance(value.value, Tensor):
            raise TypeError(
                f"`each` must be given a tensor but {what} has a {type(value.value).__name__}."
            )
        if value.value.shape[:1] != (len(self),):
            raise ValueError(
                f"`each` must be given a tensor of shape ({len(self)}, ...), for {len(self)} "
                f"members, but {what} has {tuple(value.value.shape)}."
            )

    def member_state_dict(self, i: int) -> dict[str, Tensor]:
        """Return what member i's own network would return as its `state_dict()`, as copies."""
        self._check_member(i)
        return {key: value[i].clone() for key, value in self.network.state_dict().items()}

    def load_member_state_dict(self, i: int, state: Mapping[str, Any]) -> None:
        """Load one network's `state_dict()` into member i; the other members stay as they are.

        Raises:
            ValueError: A key is missing, unknown, or has a tensor of another shape. Nothing has
                been loaded then.
        """
        self._check_member(i)
        own = self.network.state_dict()
        if keys := sorted(own.keys() ^ state.keys()):
            problem = "lacks" if keys[0] in own else "has"
            raise ValueError(f"`state` must have the network's keys but {problem} {keys}.")
        for key, value in state.items():
            if not isinstance(value, Tensor) or value.shape != own[key].shape[1:]:
                got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise ValueError(
                    f"`state` must have a tensor of shape {tuple(own[key].shape[1:])} as "
                    f"{key!r} but got {got}."
                )
        for key, value in state.items():
            own[key][i].copy_(value)

    def _check_member(self, i: int) -> None:
        check_integer("i", i, at_least=0, at_most=len(self) - 1)

    def extra_repr(self) -> str:
        """Return what `repr` says beside the modules."""
        return f"members={len(self)}"


def _stack_tensors(path: str, module: nn.Module, members: Sequence[nn.Module]) -> None:
    """Put the tensors of all members into the module of the first."""
    for name, parameter in module.named_parameters(recurse=False):
        stacked = torch.stack([getattr(member, name).detach() for member in members])
        setattr(module, name, nn.Parameter(stacked, requires_grad=parameter.requires_grad))
    if isinstance(module, Dropout) and module.is_for_each(path, len(members)):
        return
    for name, _ in module.named_buffers(recurse=False):
        setattr(module, name, torch.stack([getattr(member, name) for member in members]))


def _normalise(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Normalise half precision, as autocast gives it, with statistics of float32.

    torch does so by itself, but not on CUDA under `vmap`.
    """
    if x.dtype in _HALF and torch.is_autocast_enabled(x.device.type):
        return forward(x.float()).to(x.dtype)
    return forward(x)


def _value(argument: Any) -> Any:
    return argument.value if isinstance(argument, Each) else argument


def _in_dim(argument: Any) -> int | None:
    return 0 if isinstance(argument, Each) else None


@contextmanager
def _attention_that_can_be_stacked(place: str) -> Iterator[None]:
    """Choose implementations of attention that `vmap` need not compute one by one."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        if place == "cpu":
            with sdpa_kernel(SDPBackend.MATH):
                yield
        else:
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
