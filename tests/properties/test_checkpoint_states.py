"""Whatever is built, `save` refuses it by the name of its key, or it comes back the same."""

from __future__ import annotations

import tempfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from hypothesis import event, given
from hypothesis import strategies as st

from epbt_optuna import CheckpointStore
from tests.checkpoints.same import same, ties

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.complex64)
ARRAY_DTYPES = ("f8", "f4", ">f4", "i2", "c8", "?", "U3", "M8[s]")


class Unknown:
    """What no state may hold."""


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    tensor = torch.randint(0, 100, shape, generator=generator).to(draw(st.sampled_from(DTYPES)))
    if tensor.dim() > 1 and draw(st.booleans()):
        tensor = tensor.transpose(0, 1)
    if tensor.numel() > 1 and draw(st.booleans()):
        tensor = tensor[:1]
    if tensor.numel() and tensor.is_floating_point() and draw(st.booleans()):
        tensor[(0,) * tensor.dim()] = torch.nan
    return draw(dressed(tensor))


@st.composite
def dressed(draw: st.DrawFn, tensor: torch.Tensor) -> torch.Tensor:
    """Draw what may come with a tensor's values."""
    with_gradients = draw(st.booleans()) and (tensor.is_floating_point() or tensor.is_complex())
    if draw(st.booleans()):
        tensor = torch.nn.Parameter(tensor.detach(), requires_grad=with_gradients)
    else:
        tensor = tensor.detach().requires_grad_(with_gradients)
    if draw(st.integers(0, 4)) == 0:
        tensor.tag = draw(st.sampled_from([1, "head", (2, [3]), Unknown()]))  # type: ignore[attr-defined]
    return tensor


@st.composite
def views(draw: st.DrawFn, base: torch.Tensor | np.ndarray[Any, Any]) -> Any:
    """Draw a view of two-dimensional memory: rows, columns, every second element, another dtype."""
    view = base[draw(st.integers(0, 3)) :: draw(st.integers(1, 2)), draw(st.integers(0, 3)) :]
    if draw(st.booleans()):
        view = view.T
    if draw(st.integers(0, 9)) == 0 and isinstance(view, torch.Tensor):
        view = view.view(torch.int32)
    if isinstance(view, np.ndarray):
        return view if draw(st.booleans()) else draw(dressed(torch.from_numpy(view)))
    return draw(dressed(view))


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(draw(ARRAY_DTYPE))
    array = array[::-1] if array.ndim and draw(st.booleans()) else array
    return array.flat[0] if array.size and draw(st.booleans()) else array


ARRAY_DTYPE = st.sampled_from(ARRAY_DTYPES)
KEYS = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False),  # a NaN is found by its identity alone
        st.complex_numbers(allow_nan=False),
        st.text(),
        st.binary(),
        st.sampled_from([*DTYPES, torch.Size([2]), torch.device("cpu"), np.float32(0.5)]),
    ),
    lambda inner: st.lists(inner, max_size=2).map(tuple),
    max_leaves=3,
)
PLAIN = st.one_of(
    KEYS,
    st.integers(2**2039 - 1, 2**2039),
    st.floats(),
    st.complex_numbers(),
    st.binary().map(bytearray),
    st.sets(KEYS, max_size=3),
    st.lists(st.text(), max_size=4).map(Counter),
    st.builds(Unknown),
)


@st.composite
def states(draw: st.DrawFn) -> Any:
    memory = torch.arange(25.0).reshape(5, 5)
    array = np.arange(25.0).reshape(5, 5)
    leaves = st.one_of(tensors(), views(memory), views(array), arrays())
    once = draw(st.lists(leaves, min_size=1, max_size=3))  # to be found in several places
    several = st.sampled_from([*once, once])
    return draw(
        st.recursive(
            st.one_of(leaves, several, PLAIN),
            lambda inner: st.one_of(
                st.lists(inner, max_size=4),
                st.lists(inner, max_size=3).map(tuple),
                st.dictionaries(KEYS, inner, max_size=3),
                st.dictionaries(KEYS, inner, max_size=3).map(OrderedDict),
            ),
            max_leaves=12,
        )
    )


def objects(state: Any, found: list[int] | None = None) -> list[int]:
    """Return which containers, tensors and arrays are one object, by the order of first sight."""
    found = [] if found is None else found
    order = []
    if isinstance(state, list | dict | torch.Tensor | np.ndarray):
        if id(state) in found:
            return [found.index(id(state))]
        found.append(id(state))
        order.append(len(found) - 1)
    inner = state.values() if isinstance(state, dict) else state
    if isinstance(state, list | tuple | dict):
        for value in inner:
            order += objects(value, found)
    return order


@given(states())
def test_a_state_comes_back_the_same_or_is_refused_by_the_name_of_its_key(state: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = CheckpointStore(Path(folder))
        trial = optuna.create_study().ask()
        refusal = ""
        try:
            checkpoints.save(trial, state)
        except TypeError as error:
            refusal = str(error)
        event("refused" if refusal else "saved")
        if refusal:
            assert "state" in refusal.split("`")[1]
            assert not list(Path(folder).iterdir())
            return
        loaded = checkpoints.load(trial)
        assert same(loaded, state)
        assert ties(loaded) == ties(state)
        assert objects(loaded) == objects(state)
