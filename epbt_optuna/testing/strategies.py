"""Hypothesis strategies: every kind of Optuna distribution, and genomes made of them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from epbt_optuna.genome import Genome, draw

__all__ = ["distributions", "genomes", "related_genomes", "seeds"]

_NAMES = st.text("abcdefgh_0123456789", min_size=1, max_size=6)


def seeds() -> st.SearchStrategy[int]:
    """Seeds for `numpy.random.default_rng`."""
    return st.integers(0, 2**32 - 1)


def distributions() -> st.SearchStrategy[BaseDistribution]:
    """Every kind of distribution: float and int, linear, logarithmic or stepped; categorical."""
    return st.one_of(_floats(), _log_floats(), _stepped_floats(), _ints(), _log_ints(), _choices())


@st.composite
def genomes(draw_from: st.DrawFn, min_size: int = 1, max_size: int = 6) -> Genome:
    """Genomes of `min_size` to `max_size` variables, with values anywhere in their range."""
    space = draw_from(_search_spaces(min_size, max_size))
    return _random_genome(space, draw_from(seeds()))


@st.composite
def related_genomes(draw_from: st.DrawFn, n_genomes: int = 2) -> list[Genome]:
    """Several genomes over the same variables, as the individuals of a study have them."""
    space = draw_from(_search_spaces(1, 6))
    return [_random_genome(space, draw_from(seeds())) for _ in range(n_genomes)]


def _search_spaces(min_size: int, max_size: int) -> st.SearchStrategy[dict[str, BaseDistribution]]:
    return st.dictionaries(_NAMES, distributions(), min_size=min_size, max_size=max_size)


def _random_genome(space: dict[str, BaseDistribution], seed: int) -> Genome:
    rng = np.random.default_rng(seed)
    return Genome({name: draw(space[name], rng) for name in space}, space)


@st.composite
def _floats(draw_from: st.DrawFn) -> FloatDistribution:
    low, high = sorted(draw_from(st.tuples(*[st.floats(-1e300, 1e300)] * 2)))
    return FloatDistribution(low, high)


@st.composite
def _log_floats(draw_from: st.DrawFn) -> FloatDistribution:
    low, high = sorted(draw_from(st.tuples(*[st.floats(1e-300, 1e300)] * 2)))
    return FloatDistribution(low, high, log=True)


@st.composite
def _stepped_floats(draw_from: st.DrawFn) -> FloatDistribution:
    low, step = draw_from(st.integers(-1000, 1000)), draw_from(st.integers(1, 400))
    n_steps = draw_from(st.integers(0, 50))
    # Division, unlike multiplication by 0.1, gives the floats that Optuna finds divisible.
    parts = draw_from(st.sampled_from([1, 2, 10, 100]))
    return FloatDistribution(low / parts, (low + n_steps * step) / parts, step=step / parts)


@st.composite
def _ints(draw_from: st.DrawFn) -> IntDistribution:
    low, step = draw_from(st.integers(-(10**6), 10**6)), draw_from(st.integers(1, 1000))
    return IntDistribution(low, low + step * draw_from(st.integers(0, 1000)), step=step)


@st.composite
def _log_ints(draw_from: st.DrawFn) -> IntDistribution:
    low, high = sorted(draw_from(st.tuples(*[st.integers(1, 10**6)] * 2)))
    return IntDistribution(low, high, log=True)


def _choices() -> st.SearchStrategy[CategoricalDistribution]:
    category = st.one_of(
        st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.floats(allow_nan=False)
    )
    return st.lists(category, min_size=1, max_size=5, unique_by=lambda c: c if c else repr(c)).map(
        CategoricalDistribution
    )
