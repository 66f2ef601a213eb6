"""Laws of averaging: with no share of the mate's it is the parent, and in between it is linear."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from epbt_optuna.checkpoints.averages import averaged
from tests.checkpoints.same import leaves, same

FLOATING = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64)
SHAPES = st.lists(st.integers(0, 3), max_size=3)
UNTOUCHED = st.none() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)


def average(own: Any, other: Any, weight: float) -> Any:
    return averaged(deepcopy(own), lambda: deepcopy(other), weight, None)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    dtype = draw(st.sampled_from((*FLOATING, torch.int64, torch.uint8)))
    tensor = torch.zeros(draw(SHAPES), dtype=dtype)
    return tensor.transpose(0, 1) if tensor.ndim > 1 and draw(st.booleans()) else tensor


MODELS = st.recursive(
    st.one_of(tensors(), UNTOUCHED),
    lambda inner: st.one_of(
        st.dictionaries(st.text(max_size=2), inner, max_size=3),
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
    ),
    max_leaves=8,
)


def filled(state: Any, seed: int) -> Any:
    """Return the state with other numbers in its tensors, and the same beside them."""
    state = deepcopy(state)
    generator = torch.Generator().manual_seed(seed)
    for tensor in leaves(state):
        tensor.copy_(torch.randint(-8, 8, tensor.shape, generator=generator))
    return state


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Any, Any]:
    """Draw two states alike, with small whole numbers: halves and quarters of them are exact."""
    state = {"model": draw(MODELS), "w": torch.zeros(2)}
    return filled(state, draw(st.integers(0, 99))), filled(state, draw(st.integers(100, 199)))


def changes(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


@given(pairs(), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_every_floating_tensor_is_between_and_all_else_is_the_parents(
    pair: tuple[Any, Any], weight: float
) -> None:
    own, other = pair
    result = average(own, other, weight)
    triples = list(zip(leaves(result), leaves(own), leaves(other), strict=True))
    for found, mine, theirs in triples:
        expected = (1 - weight) * mine + weight * theirs if changes(mine) else mine
        assert same(found, expected.to(mine.dtype))
    for found, mine, _ in triples:  # the containers, their order, and all that is no tensor
        found.copy_(mine)
    assert same(result, own)


@given(pairs())
def test_parent_and_mate_change_places_with_their_shares(pair: tuple[Any, Any]) -> None:
    own, other = pair
    one, two = average(own, other, 0.25), average(other, own, 0.75)
    for a, b, mine in zip(leaves(one), leaves(two), leaves(own), strict=True):
        assert same(a, b) or not changes(mine)


@given(pairs())
def test_it_is_linear_in_the_share(pair: tuple[Any, Any]) -> None:
    quarter, half, most = (average(*pair, weight) for weight in (0.25, 0.5, 0.75))
    for tensor, middle, other in zip(leaves(quarter), leaves(half), leaves(most), strict=True):
        if changes(tensor):
            assert torch.equal(middle - tensor, other - middle)
